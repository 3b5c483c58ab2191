import type { HartPort, MachinePort, Reach } from "@cvm/cpu/abi";
import { Perm, Prot } from "@cvm/cpu/abi";
import { Errno } from "../errors.ts";
import type { Thread } from "../process.ts";

const A0 = 10;
const A1 = 11;
const A2 = 12;
/** Bytes of one copy: it must not hold others up. */
const MOST = 1_048_576;

const reach: Reach = { usable: false, perms: 0, address: 0, base: 0, top: 0 };

/**
 * Where the next `length` bytes of a capability are, or a negative errno: EBADF for none or a sealed one, EACCES without the permission, EFAULT outside of its
 * bounds.
 */
function place(hart: HartPort, register: number, perm: number, length: number): number {
  hart.readReach(register, reach);
  if (!reach.usable) return -Errno.EBADF;
  if ((reach.perms & perm) === 0) return -Errno.EACCES;
  return reach.address >= reach.base && reach.address + length <= reach.top ? reach.address : -Errno.EFAULT;
}

/**
 * Copies a2 bytes, at most 1 MiB, from what ca1 points to, to what ca0 points to, with those capabilities' authority alone. How many were copied, or a negative errno: see {@link place}, of ca0
 * first; EINVAL for a length that is none or ranges that overlap; EFAULT for pages that do not allow it, ENOMEM when the cVM has no memory left. Nothing is copied then.
 */
export function copyBetween(machine: MachinePort, { hart, process }: Thread): number {
  const length = Math.min(hart.getInt(A2), MOST);
  if (length < 0) return -Errno.EINVAL;
  const to = place(hart, A0, Perm.Store, length);
  if (to < 0) return to;
  const from = place(hart, A1, Perm.Load, length);
  if (from < 0 || length === 0) return from < 0 ? from : 0;
  if (Math.abs(from - to) < length) return -Errno.EINVAL;
  if (!machine.allows(to, length, Prot.Write) && process.use(to, length) < 0) return -Errno.ENOMEM;
  if (!machine.allows(to, length, Prot.Write) || !machine.allows(from, length, Prot.Read)) return -Errno.EFAULT;
  machine.copyRange(from, to, length);
  return length;
}
