/**
 * Pairs of shifts that keep the low part of a register, as compilers write them for machines without Zba and Zbb, become the one instruction that those extensions have for it:
 * V8 finds this for 32-bit numbers only, and the number between the two shifts would need 64 bits.
 */
import type { Instructions } from "./instructions.ts";

/** What a pair is done by. `amount` is the immediate, `otherZero`: its second operand is x0. */
interface Extension {
  readonly name: string;
  readonly amount: number;
}

/** What shifting left by `left` and then right by `right` is, by the names of both; undefined if no instruction does it. */
function extension(first: string, left: number, second: string, right: number): Extension | undefined {
  if (first === "slliw" && left > 0 && left === right) {
    if (second === "srliw") return { name: "andi", amount: 2 ** (32 - left) - 1 };
    if (second === "sraiw" && left === 16) return { name: "sext.h", amount: 0 };
    if (second === "sraiw" && left === 24) return { name: "sext.b", amount: 0 };
  }
  if (first === "slli" && second === "srli") {
    if (left === right && left > 32) return { name: "andi", amount: 2 ** (64 - left) - 1 };
    if (left === 32 && right === 32) return { name: "add.uw", amount: 0 };
    if (left === 32 && right < 32) return { name: "slli.uw", amount: 32 - right };
  }
  if (first === "slli" && second === "srai" && left === right) {
    if (left === 32) return { name: "addiw", amount: 0 };
    if (left === 48) return { name: "sext.h", amount: 0 };
    if (left === 56) return { name: "sext.b", amount: 0 };
  }
  return undefined;
}

/** Replaces such pairs in instructions that run one after the other. Each keeps its place and counts, one of them does nothing. */
export function joinShifts(code: Instructions, ins: number[]): void {
  for (let at = 0; at + 1 < ins.length; at++) {
    const left = ins[at]!;
    const register = code.rd[left]!;
    const name = code.shape(left).clause.name;
    if (register === 0 || (name !== "slli" && name !== "slliw")) continue;
    const bit = 1 << register;
    for (let to = at + 1; to < ins.length; to++) {
      const right = ins[to]!;
      if (((code.useX[right]! | code.defX[right]!) & bit) === 0) {
        // The number between the shifts must not be seen where the block is left.
        if (!code.shape(right).pure) break;
        continue;
      }
      if (code.rd[right] !== register || code.rs1[right] !== register) break;
      const one = extension(name, code.imm[left]!, code.shape(right).clause.name, code.imm[right]!);
      if (one === undefined) break;
      const joined = code.derive(left, one.name, register, code.rs1[left]!, one.amount);
      const nothing = code.derive(right, "addi", 0, 0, 0);
      if (joined < 0 || nothing < 0) return;
      ins[at] = joined;
      ins[to] = nothing;
      break;
    }
  }
}
