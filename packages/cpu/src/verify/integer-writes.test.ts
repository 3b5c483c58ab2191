import { describe, expect, test } from "vitest";
import { Exit } from "../abi.ts";
import { fromRaw } from "../capability/operations.ts";
import { rawNull, rawSetAddress, type Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import type { Clause } from "../isa/clause.ts";
import { createDecoded, createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { Semantics, type Stmt } from "../isa/ir.ts";
import { RWC, sealedWith, within } from "./capabilities.ts";
import { DATA, instruction, lengthOf, wordOf, type Case, type Instruction } from "./case.ts";
import { caseOf } from "./check.test.support.ts";
import { allFacts, type Facts } from "./instructions.ts";
import { describeCase, subjectOf } from "./report.ts";
import { show } from "./subject.ts";

const decoder = createDecoder(allClauses);

function writesInteger(clause: Clause): boolean {
  const found = (statements: readonly Stmt[]): boolean =>
    statements.some((s) => s.k === "setX" || (s.k === "if" && (found(s.then) || found(s.else))));
  const s = new Semantics();
  clause.semantics!(s);
  return found(s.statements);
}

/** The register that results go to, a register with a valid address and with a small number, and with a capability for data. */
const [RESULT, ADDRESS, POINTER] = [9, 10, 11];
/** Held in between: c16 is what comes to the result's register before each integer write; x20 counts tags that stay. */
const [SOURCE, FLAG, COUNT, ROUND, SEEN] = [16, 19, 20, 28, 21];

interface Writer {
  readonly facts: Facts;
  readonly instruction: Instruction;
  /** The register that it writes: not always {@link RESULT}. */
  readonly rd: number;
}
/** All instructions of integer mode that write a number to an integer register, with operands for which they do not trap. */
const writers: readonly Writer[] = allFacts.flatMap((facts) => {
  const { clause } = facts;
  if (clause.mode === "cap" || clause.extension === "Privileged") return [];
  // Where a jump goes is not this test's: links are below.
  if (facts.jumps) return [];
  const rs1 = facts.explicit || /cs1/u.test(clause.syntax) ? POINTER : ADDRESS;
  const imm = facts.csr ? 0x001 : /imm\[/u.test(clause.encoding) && clause.name.endsWith("sp") ? 16 : 0;
  // The register of a compressed operation is source and destination.
  const compressed = clause.expands !== undefined && !facts.loads;
  const fields = { rd: RESULT, rs1: compressed ? RESULT : rs1, rs2: 12, imm, rm: 7 };
  const operands = createDecoded();
  const written: Instruction = { clause, fields };
  const index = decoder.decode(wordOf(written), 0, operands);
  const base = allClauses[index]!;
  if (!writesInteger(base) || decoder.clauses[decoder.written(wordOf(written), 0)] !== clause) return [];
  // A store-conditional writes its result to the register of its value.
  const conditional = /^sc\..\.(ddc|cap)$/u.test(base.name);
  return [{ facts, instruction: written, rd: conditional ? operands.rs2 : operands.rd }];
});

const data = within(DATA, 0x2000, RWC, 0x200);
const registersOf = (result: Raw, rd: number): Readonly<Record<number, Raw>> => ({
  2: rawNull(BigInt(DATA + 0x200)),
  [ADDRESS]: rawNull(BigInt(DATA + 0x200)),
  [POINTER]: data,
  12: rawNull(3n),
  [SOURCE]: data,
  17: data,
  [rd]: result,
});

/** The writer goes round; before each time the register gets a capability, after it its tag is counted. */
function loop(writer: Writer, rounds: number): Case {
  const { rd } = writer;
  const body = [
    instruction("cmove", { rd, rs1: SOURCE }),
    writer.instruction,
    instruction("cgettag", { rd: FLAG, rs1: rd }),
    instruction("add", { rd: COUNT, rs1: COUNT, rs2: FLAG }),
    instruction("cgetperm", { rd: FLAG, rs1: rd }),
    instruction("or", { rd: SEEN, rs1: SEEN, rs2: FLAG }),
    instruction("addi", { rd: ROUND, rs1: ROUND, imm: -1 }),
  ];
  const program = [...body, instruction("bne", { rs1: ROUND, rs2: 0 }, -body.length), instruction("ecall")];
  // Source and destination may be one register, which then has a capability: its address serves for both.
  const registers = { ...registersOf(rawNull(), rd), [ROUND]: rawNull(BigInt(rounds)), [SOURCE]: sourceOf(rd) };
  return caseOf(program, { registers });
}
/** What is moved to the result: where it is the stack pointer or an address too, one that serves as such. */
const sourceOf = (rd: number): Raw => (rd === 2 || rd === ADDRESS ? rawSetAddress(within(0, 0x8000, RWC), BigInt(DATA + 0x200)) : data);

describe.each(ENGINES)("integer writes on the %s", (engine) => {
  test("all kinds are known: arithmetic, loads, atomics, compressed, of floating point, of capabilities, of control registers", () => {
    const names = writers.map(({ facts }) => facts.clause.name);
    for (const name of [
      "addi",
      "mul",
      "ld",
      "lr.w",
      "amoadd.d",
      "c.li",
      "c.addi",
      "c.lw",
      "c.mv",
      "fcvt.w.d",
      "fmv.x.d",
      "feq.s",
      "sh1add",
      "csrrs",
    ])
      expect(names).toContain(name);
    for (const name of ["cgetperm", "csub", "cseqx", "ctoptr", "lw.cap", "lb.ddc", "lr.w.cap", "sc.w", "cloadtags", "crrl"])
      expect(names).toContain(name);
    expect(names.length).toBeGreaterThan(180);
  });

  test("drop the register's capability metadata, whatever writes, in loops of a thousand rounds", () => {
    const subject = subjectOf({ engine });
    for (const writer of writers) {
      const test = loop(writer, 1000);
      subject.prepare(test);
      const exit = subject.hart.run(10_000);
      const { name } = writer.facts.clause;
      expect(exit === Exit.Ecall, `${name}: ${subject.hart.trapCause}\n${describeCase(test)}`).toBe(true);
      expect([subject.hart.getX(COUNT), subject.hart.getX(SEEN)], name).toEqual([0n, 0n]);
      expect(subject.register(writer.rd).hi, name).toBe(0n);
    }
  });

  test("drop it where the same loop ran thousands of times before without any capability in registers", () => {
    const subject = subjectOf({ engine });
    for (const writer of writers) {
      const { rd, facts } = writer;
      // Those that take capabilities need one for every round.
      if (facts.explicit || /cs1|cs2/u.test(facts.clause.syntax) || [ADDRESS, 2].includes(rd)) continue;
      const body = [writer.instruction, instruction("addi", { rd: ROUND, rs1: ROUND, imm: -1 })];
      const program = [...body, instruction("bne", { rs1: ROUND, rs2: 0 }, -body.length), instruction("ecall")];
      const plain = Object.fromEntries(Object.entries(registersOf(rawNull(), rd)).map(([index, cap]) => [index, rawNull(cap.address)]));
      const test = caseOf(program, { registers: { ...plain, [ADDRESS]: rawNull(BigInt(DATA + 0x200)), [ROUND]: rawNull(2500n) } });
      const { name } = facts.clause;
      subject.prepare(test);
      expect(subject.hart.run(10_000), `${name}\n${describeCase(test)}`).toBe(Exit.Ecall);
      for (const cap of [data, sealedWith(data, 20)]) {
        const { hart } = subject;
        subject.pc = BigInt(test.origin);
        hart.setX(ROUND, 3n);
        hart.setCapability(rd, fromRaw(cap));
        // This one nobody writes.
        hart.setCapability(30, fromRaw(cap));
        expect(hart.run(10_000), name).toBe(Exit.Ecall);
        expect([subject.register(rd).tag, subject.register(rd).hi], name).toEqual([false, 0n]);
        expect(show(subject.register(30)), name).toBe(show(cap));
      }
    }
  });

  test("of links drop it: jal, jalr, jalr.pcc, c.jalr, in loops", () => {
    const subject = subjectOf({ engine });
    const link = 1;
    for (const [name, fields, to] of [
      ["jal", { rd: link }, 1],
      ["jalr", { rd: link, rs1: 13 }, undefined],
      ["jalr.pcc", { rd: link, rs1: 13 }, undefined],
      ["c.jalr", { rs1: 13 }, undefined],
    ] as const) {
      const jump = instruction(name, fields, to);
      const body = [instruction("cmove", { rd: link, rs1: SOURCE }), jump];
      const after = [
        instruction("cgettag", { rd: FLAG, rs1: link }),
        instruction("add", { rd: COUNT, rs1: COUNT, rs2: FLAG }),
        instruction("addi", { rd: ROUND, rs1: ROUND, imm: -1 }),
      ];
      const all = [...body, ...after];
      const program = [...all, instruction("bne", { rs1: ROUND, rs2: 0 }, -all.length), instruction("ecall")];
      const next = 0x1000 + 4 + lengthOf(jump);
      const test = caseOf(program, { registers: { [SOURCE]: data, 13: rawNull(BigInt(next)), [ROUND]: rawNull(3000n) } });
      subject.prepare(test);
      expect(subject.hart.run(100_000), `${name}\n${describeCase(test)}`).toBe(Exit.Ecall);
      expect(subject.hart.getX(COUNT), name).toBe(0n);
      expect(show(subject.register(link)), name).toBe(show(rawNull(BigInt(next))));
    }
  });
});
