import { beforeAll, describe, expect, test } from "vitest";
import { Cause, Exit, OTYPE_UNSEALED, Perm, Prot, type Capability, type HartPort, type MachinePort } from "../abi.ts";
import { OperandSource, reference } from "../float/reference.ts";
import { createMachine } from "../machine/machine.ts";
import type { Clause } from "./clause.ts";
import { dClauses } from "./d.ts";
import { encodingOf, insertField } from "./encoding.ts";
import { fClauses } from "./f.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const CODE = 0x1_0000;
  const DATA = 0x2_0000;
  const ECALL = 0x73;
  const FD = 1;
  const XD = 5;

  const everything: Capability = { tag: true, address: 0n, base: 0n, top: 1n << 64n, perms: Perm.All, otype: OTYPE_UNSEALED, flag: 0 };

  let machine: MachinePort;
  let hart: HartPort;
  beforeAll(() => {
    machine = createMachine({ engine, memoryBytes: 1 << 20 });
    machine.protect(CODE, 0x1_0000, Prot.Read | Prot.Execute);
    machine.protect(DATA, 0x1_0000, Prot.Read | Prot.Write);
    hart = machine.createHart();
    hart.ddc = everything;
    hart.pcc = everything;
  });

  function word(clause: Clause, values: Readonly<Record<string, number>>): number {
    const encoding = encodingOf(clause);
    return encoding.fields.reduce((bits, field) => bits | insertField(field, values[field.name] ?? 0), encoding.match) >>> 0;
  }
  /** Puts each word and an ecall behind it at CODE; the address of word i is CODE + 8 * i. */
  function program(words: readonly number[]): void {
    machine.storeRange(CODE, new Uint8Array(Uint32Array.from(words.flatMap((each) => [each, ECALL])).buffer));
  }
  const hex = (value: bigint): string => BigInt.asUintN(64, value).toString(16);

  const clauses = [...fClauses, ...dClauses];
  const writesInteger = (clause: Clause): boolean => clause.syntax.startsWith("rd");
  const hasMode = (clause: Clause): boolean => clause.encoding.includes(" rm ");

  describe.each(clauses.filter(({ name }) => !/^f[ls][wd]$/u.test(name)).map((clause) => [clause.name, clause] as const))(
    "%s",
    (name, clause) => {
      test.each([
        ["NX clear", 0],
        ["NX set", 1],
      ])("result and flags as in software, %s", (_what, nx) => {
        const source = new OperandSource(BigInt(name.length * 1000 + name.charCodeAt(1) * 10 + nx + 1));
        // f1 = op f2, f3, f4; x5 = op f2, f3; f1 = op x6
        const fields = { rd: writesInteger(clause) ? XD : FD, rs1: clause.syntax.includes("fs1") ? 2 : 6, rs2: 3, rs3: 4 };
        program(Array.from({ length: 8 }, (_, rm) => word(clause, { ...fields, rm })));
        for (let i = 0; i < 1500; i += 1) {
          const operands = source.operands(name);
          const { a, b, c, x, rm, frm } = operands;
          // NX alone mostly; other flags must stay as well.
          const flags = source.below(8) === 0 ? (source.below(16) << 1) | nx : nx;
          hart.setF(1, 0x1111n);
          hart.setX(5, 0x1111n);
          hart.setF(2, a);
          hart.setF(3, b);
          hart.setF(4, c);
          hart.setX(6, x);
          hart.fcsr = (frm << 5) | flags;
          hart.pc = CODE + (hasMode(clause) ? 8 * rm : 0);
          const exit = hart.run(1000);
          const result = hex(writesInteger(clause) ? hart.getX(XD) : hart.getF(FD));
          const got = { exit, cause: exit === Exit.Trap ? hart.trapCause : -1, result, fcsr: hart.fcsr };
          const wanted = reference(name, operands);
          const trap = { exit: Exit.Trap, cause: Cause.IllegalInstruction, result: "1111", fcsr: (frm << 5) | flags };
          expect(got, `${hex(a)} ${hex(b)} ${hex(c)} x ${hex(x)} rm ${rm} frm ${frm}`).toEqual(
            wanted === undefined ? trap : { exit: Exit.Ecall, cause: -1, result: hex(wanted.rd), fcsr: (frm << 5) | flags | wanted.flags },
          );
        }
      });
    },
  );

  describe("loads and stores", () => {
    const byName = (name: string): Clause => clauses.find((clause) => clause.name === name)!;
    const go = (name: string, values: Readonly<Record<string, number>>): number => {
      program([word(byName(name), values)]);
      hart.pc = CODE;
      return hart.run(1000);
    };
    test("flw boxes, fld takes all 64 bits, misaligned addresses too", () => {
      machine.storeRange(DATA, Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 0xf7, 8, 9, 10, 11, 12, 13, 14, 15));
      hart.setX(6, BigInt(DATA + 100));
      expect(go("flw", { rd: 1, rs1: 6, imm: -100 })).toBe(Exit.Ecall);
      expect(hex(hart.getF(1))).toBe("ffffffff03020100");
      expect(go("flw", { rd: 1, rs1: 6, imm: -95 })).toBe(Exit.Ecall);
      expect(hex(hart.getF(1))).toBe("ffffffff08f70605");
      expect(go("fld", { rd: 1, rs1: 6, imm: -99 })).toBe(Exit.Ecall);
      expect(hex(hart.getF(1))).toBe("8f7060504030201");
    });
    test("fsw stores the low half whatever is above it, fsd all", () => {
      machine.zeroRange(DATA, 32);
      hart.setX(6, BigInt(DATA));
      hart.setF(3, 0x1234_5678_9abc_def0n);
      expect(go("fsw", { rs2: 3, rs1: 6, imm: 1 })).toBe(Exit.Ecall);
      expect(go("fsd", { rs2: 3, rs1: 6, imm: 16 })).toBe(Exit.Ecall);
      expect([...machine.readBytes(DATA, 8)]).toEqual([0, 0xf0, 0xde, 0xbc, 0x9a, 0, 0, 0]);
      expect([...machine.readBytes(DATA + 16, 8)]).toEqual([0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12]);
    });
    test("a load from an unmapped page leaves the register", () => {
      hart.setX(6, 0x8_0000n);
      hart.setF(1, 7n);
      expect(go("fld", { rd: 1, rs1: 6, imm: 0 })).toBe(Exit.Trap);
      expect(hart.trapCause).toBe(Cause.LoadPage);
      expect(hart.getF(1)).toBe(7n);
    });
  });
});
