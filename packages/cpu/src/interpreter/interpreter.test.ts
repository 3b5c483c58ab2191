import { describe, expect, test } from "vitest";
import { assembleText, disassemble } from "../assembler/index.ts";
import type { Clause } from "../isa/clause.ts";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { expectEcall, load } from "../machine/program.test.support.ts";
import { Interpreter } from "./interpreter.ts";

describe("derived from clauses", () => {
  test("an add that is encoded and computes as sub: assembler, disassembler and interpreter follow", () => {
    const named = (name: string): Clause => allClauses.find((clause) => clause.name === name)!;
    const clauses = allClauses.map((clause): Clause => {
      if (clause.name === "add") return { ...named("sub"), name: "add" };
      return clause.name === "sub" ? { ...named("add"), name: "sub" } : clause;
    });
    const text = "add a2, a0, a1\n";
    const word = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const changed = word(assembleText(text, { clauses }));
    expect(changed).not.toBe(word(assembleText(text)));
    expect(changed).toBe(word(assembleText("sub a2, a0, a1\n")));
    expect(disassemble(createDecoder(clauses), changed)).toBe(disassemble(createDecoder(allClauses), word(assembleText(text))));
    expect(disassemble(createDecoder(allClauses), changed)).toMatch(/^sub/u);
    // The same word in the changed interpreter: named add, computing what the changed clause says.
    const p = load(`li a0, 7\n li a1, 5\n .word ${changed}\n ecall`, { interpreter: new Interpreter(clauses) });
    expectEcall(p);
    expect(p.hart.getInt(12)).toBe(2);
  });
  test("changing a clause's meaning changes the interpreter", () => {
    const clauses = allClauses.map((clause) =>
      clause.name === "add" ? { ...clause, semantics: allClauses.find(({ name }) => name === "sub")!.semantics! } : clause,
    );
    const text = "li a0, 7\n li a1, 5\n add a2, a0, a1\n c.add a0, a1\n ecall";
    const changed = load(text, { interpreter: new Interpreter(clauses) });
    expectEcall(changed);
    expect([changed.hart.getInt(12), changed.hart.getInt(10)]).toEqual([2, 2]);
    const standard = load(text, {});
    expectEcall(standard);
    expect([standard.hart.getInt(12), standard.hart.getInt(10)]).toEqual([12, 12]);
  });
});
