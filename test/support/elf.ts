import { assembleText } from "@cvm/cpu";

/** Where the one segment of {@link staticElf} is loaded. */
export const TEXT_ADDRESS = 0x10000;
const HEADER_BYTES = 64 + 56;
const EM_RISCV = 243;

/** A static ELF program of one segment (read and execute) from assembly text; it starts at its first instruction. */
export function staticElf(source: string): Uint8Array {
  const code = assembleText(source, { origin: TEXT_ADDRESS + HEADER_BYTES });
  return wrapElf(code);
}

/** The ELF file around machine code that was assembled for {@link TEXT_ADDRESS} + 120. */
export function wrapElf(
  code: Uint8Array,
  changes: { readonly machine?: number; readonly entry?: number; readonly address?: number; readonly memoryBytes?: number } = {},
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + code.length);
  const view = new DataView(bytes.buffer);
  const address = changes.address ?? TEXT_ADDRESS;
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, changes.machine ?? EM_RISCV, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(changes.entry ?? address + HEADER_BYTES), true);
  view.setBigUint64(32, 64n, true); // e_phoff
  view.setUint32(48, 5, true); // e_flags: RVC, double-float ABI
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint16(58, 64, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 5, true); // R + X
  view.setBigUint64(72, 0n, true);
  view.setBigUint64(80, BigInt(address), true);
  view.setBigUint64(88, BigInt(address), true);
  view.setBigUint64(96, BigInt(bytes.length), true);
  view.setBigUint64(104, BigInt(changes.memoryBytes ?? bytes.length), true);
  view.setBigUint64(112, 0x1000n, true);
  bytes.set(code, HEADER_BYTES);
  return bytes;
}
