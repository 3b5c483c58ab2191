/** Every 16-bit form does what the 32-bit instruction that it stands for does, but for the length. */
import { describe, expect, test } from "vitest";
import { Exit, OTYPE_UNSEALED, Perm, Prot, type Capability, type EngineName } from "../abi.ts";
import { disassemble } from "../assembler/disassembler.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { dumpRegisters } from "../machine/dump.ts";
import { createMachine } from "../machine/machine.ts";
import type { Clause } from "./clause.ts";
import { clauseIndex, clausesOf, createDecoded, createDecoder, type Mode } from "./decode.ts";
import { encodingOf, extractField, insertField, type Field } from "./encoding.ts";
import { allClauses } from "./index.ts";

const decoder = createDecoder(allClauses);
const CODE = 0x1_0000;
const DATA = 0x4_0000;
const DATA_BYTES = 0x1000;
const everything: Capability = { tag: true, address: 0n, base: 0n, top: 1n << 64n, perms: Perm.All, otype: OTYPE_UNSEALED, flag: 0 };
const EBREAK = Uint8Array.of(0x02, 0x90);

/** The 32-bit word that a form stands for, from what it declares. */
function expansion(form: Clause, word: number, mode: Mode): number {
  const { to, operands } = form.expands!;
  const base = encodingOf(allClauses[clauseIndex(allClauses, to, mode)]!);
  const value = (field: Field): number => {
    const from = operands[field.name as keyof typeof operands];
    if (typeof from === "number") return from;
    const source = encodingOf(form).fields.find(({ name }) => name === from);
    return source === undefined ? 0 : extractField(source, word);
  };
  return base.fields.reduce((bits, field) => bits | insertField(field, value(field)), base.match);
}

/**
 * What forms stand for (RISC-V unprivileged specification, chapter "C", tables of the expansions; CHERI ISAv9): $1 … are the operands as
 * written. A form that is not here stands for the instruction of the same name with the same operands.
 */
const EXPANSIONS: Readonly<Record<string, string>> = {
  "c.nop": "addi zero, zero, $1",
  "c.addi": "addi $1, $1, $2",
  "c.addiw": "addiw $1, $1, $2",
  "c.li": "addi $1, zero, $2",
  "c.addi16sp": "addi $1, $1, $2",
  "c.addi4spn": "addi $1, $2, $3",
  "c.srli": "srli $1, $1, $2",
  "c.srai": "srai $1, $1, $2",
  "c.slli": "slli $1, $1, $2",
  "c.andi": "andi $1, $1, $2",
  "c.sub": "sub $1, $1, $2",
  "c.xor": "xor $1, $1, $2",
  "c.or": "or $1, $1, $2",
  "c.and": "and $1, $1, $2",
  "c.subw": "subw $1, $1, $2",
  "c.addw": "addw $1, $1, $2",
  "c.add": "add $1, $1, $2",
  "c.mv": "add $1, zero, $2",
  "c.beqz": "beq $1, zero, $2",
  "c.bnez": "bne $1, zero, $2",
  "c.jr": "jalr zero, 0($1)",
  "c.jalr": "jalr ra, 0($1)",
  "c.cjr": "cjalr cnull, 0($1)",
  "c.cjalr": "cjalr cra, 0($1)",
  "c.cincoffset16csp": "cincoffset $1, $1, $2",
  "c.cincoffset4cspn": "cincoffset $1, $2, $3",
};

describe.each([0, 1] as const)("mode %i", (mode: Mode) => {
  test("every 16-bit word stands for the instruction that the specification names", () => {
    let checked = 0;
    for (let word = 0; word < 65536; word++) {
      const index = (word & 3) === 3 ? -1 : decoder.written(word, mode);
      if (index < 0) continue;
      const text = disassemble(decoder, word, CODE, mode);
      const [, name, rest] = /^(\S+) ?(.*)$/u.exec(text)!;
      const operands = rest!.split(", ");
      let wanted = EXPANSIONS[name!];
      if (name === "c.j") wanted = mode === 1 ? "cjal cnull, $1" : "jal zero, $1";
      // c.lwsp, c.clwcsp: an address like any other.
      wanted ??= `${name!.slice(2).replace(/(c?sp)$/u, "")} ${rest}`.trim();
      wanted = wanted.replace(/\$(\d)/gu, (_, at: string) => operands[Number(at) - 1]! || "0");
      // Hints that name a register do nothing to it.
      if (/^c\.(?:addi|s[rl][la]i) \w+, 0(?:x0)?$/u.test(text)) wanted = "addi zero, zero, 0";
      const expanded = disassemble(decoder, expansion(allClauses[index]!, word, mode), CODE, mode);
      if (expanded !== wanted) expect.fail(`${text} is ${expanded}, not ${wanted}`);
      checked++;
    }
    expect(checked).toBe(3 * 2 ** 14 - 2409 - (mode === 1 ? 64 : 0));
  });
});

class Site {
  readonly #machine;
  readonly #hart;
  readonly #mode: Mode;
  constructor(engine: EngineName, mode: Mode) {
    this.#mode = mode;
    this.#machine = createMachine({ engine, memoryBytes: 1 << 20 });
    this.#machine.protect(CODE - 0x1000, 0x3000, Prot.Read | Prot.Execute);
    this.#machine.protect(DATA, DATA_BYTES, Prot.Read | Prot.Write);
    this.#hart = this.#machine.createHart();
    this.#hart.ddc = everything;
    this.#hart.pcc = { ...everything, flag: mode };
  }
  /** All that is left when the instruction ran once: how it ended, registers, memory; the pc and the link as distances from what follows. */
  after(word: number, length: 2 | 4): string[] {
    const [machine, hart] = [this.#machine, this.#hart];
    // Wherever it jumps (near, or through a register), it stops.
    const code = Uint8Array.from({ length: 0x3000 }, (_, at) => EBREAK[at % 2]!);
    for (let at = 0; at < length; at++) code[0x1000 + at] = (word >> (8 * at)) & 0xff;
    machine.storeRange(CODE - 0x1000, code);
    machine.storeRange(
      DATA,
      Uint8Array.from({ length: DATA_BYTES }, (_, at) => (at * 37 + 11) & 0xff),
    );
    machine.storeCapability(DATA + 0x100, cap.root());
    for (let n = 1; n < 32; n++) {
      hart.setX(n, BigInt(DATA + 16 * ((n * 5) % 64)));
      hart.setF(n, BigInt(n) * 0x1357_9bdf_0246n);
      const address = BigInt(DATA + 16 * ((n * 5) % 64));
      if (this.#mode === 1) hart.setCapability(n, { ...everything, address });
    }
    // Targets of jumps through registers, c.jr x1, x5 and x11.
    for (const n of [1, 5, 11]) {
      const address = BigInt(CODE + 0x400 + 2 * n);
      if (this.#mode === 1) hart.setCapability(n, { ...everything, address, flag: 1 });
      else hart.setX(n, address);
    }
    hart.pc = CODE;
    const exit = hart.run(3);
    const relative = (value: number): string => (value === CODE + length ? "behind" : value.toString(16));
    const link = hart.getInt(1);
    if (link === CODE + length) hart.setX(1, 0n); // a link differs with the length
    const memory = machine.readBytes(DATA, DATA_BYTES).join(" ");
    const tags = machine.countTags(DATA, DATA_BYTES);
    const trap = exit === Exit.Trap ? `${hart.trapCause}` : "";
    return [
      `exit ${exit} ${trap}`,
      `pc ${relative(hart.pc)}`,
      `link ${relative(link)}`,
      ...dumpRegisters(hart).slice(3),
      memory,
      `${tags} tags`,
    ];
  }
}

describe.each(ENGINES)("%s", (engine) => {
  describe.each([0, 1] as const)("mode %i", (mode: Mode) => {
    const site = new Site(engine, mode);
    const forms = clausesOf(allClauses, mode)
      .map((index) => allClauses[index]!)
      .filter(({ expands }) => expands !== undefined);
    test.each(forms.map((form) => [form.name, form] as const))("%s", (_name, form) => {
      const { fields, match, mask } = encodingOf(form);
      const free = ~mask & 0xffff;
      let checked = 0;
      // Every 16-bit word with its bits at places spread over the free ones: a fixed sequence of some of them.
      for (let round = 0, noise = 0x9e37; checked < 6 && round < 400; round++, noise = (Math.imul(noise, 40503) + 0x3b) & 0xffff) {
        const word = match | (noise & free);
        const index = decoder.written(word, mode);
        if (allClauses[index] !== form) continue;
        const imm = fields.find(({ name }) => name === "imm");
        // Targets beyond the code are for the tests of jumps.
        if (form.syntax.endsWith("target") && Math.abs(extractField(imm!, word)) > 0xf00) continue;
        if (/^c\.c?ja?l?r$/u.test(form.name) && ![1, 5, 11].includes(extractField(fields[0]!, word))) continue;
        const wide = expansion(form, word, mode);
        const [narrowOut, wideOut] = [createDecoded(), createDecoded()];
        const base = decoder.decode(word, mode, narrowOut);
        expect(allClauses[base]!.name).toBe(form.expands!.to);
        expect([decoder.decode(wide, mode, wideOut), wideOut.length, narrowOut.length]).toEqual([expect.any(Number), 4, 2]);
        expect({ ...narrowOut, length: 4 }).toEqual(wideOut);
        expect(site.after(word, 2), `${disassemble(decoder, word, CODE, mode)} as ${disassemble(decoder, wide, CODE, mode)}`).toEqual(
          site.after(wide, 4),
        );
        checked++;
      }
      expect(checked).toBeGreaterThan(0);
    });
  });
});
