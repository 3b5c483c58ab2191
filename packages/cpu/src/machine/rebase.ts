/** Capabilities into a region of memory that is copied or moved to another place. */
import type { Capability, HartPort } from "../abi.ts";
import type { Region } from "./regions.ts";

/**
 * What a capability into `from` becomes in a copy of that region at another base, whose alignment keeps its bounds exact. One to all of the region
 * is one to all of the other, however long that is; one to what the other does not have is none. One that points elsewhere stays as it is, an
 * integer too.
 */
export function rebase(capability: Capability, from: Region, to: Region): Capability {
  const { base, top } = capability;
  const [first, end] = [BigInt(from.base), BigInt(from.base + from.length)];
  if (!capability.tag || base < first || top > end) return capability;
  const delta = BigInt(to.base) - first;
  const longer = base === first && top === end ? BigInt(to.length - from.length) : 0n;
  const moved = { ...capability, address: BigInt.asUintN(64, capability.address + delta), base: base + delta, top: top + delta + longer };
  return moved.top > BigInt(to.base + to.length) ? { ...capability, tag: false } : moved;
}

/** {@link rebase} of all that a hart holds. */
export function rebaseRegisters(hart: HartPort, from: Region, to: Region): void {
  const { pc } = hart;
  hart.ddc = rebase(hart.ddc, from, to);
  hart.pcc = rebase(hart.pcc, from, to);
  hart.pc = pc;
  for (let register = 1; register < 32; register++) {
    const capability = hart.getCapability(register);
    if (capability.tag) hart.setCapability(register, rebase(capability, from, to));
  }
}
