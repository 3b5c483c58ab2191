/** A thread's registers as bytes, in the layout of the machine: pc, x1 … x31, f0 … f31 and fcsr, 8 bytes each, little endian. */
export const REGISTER_BYTES: number = 8 * (1 + 31 + 32 + 1);
export const FCSR: number = 8 * 64;
/** Integer registers by their names in the psABI. */
export const X = { RA: 1, SP: 2, TP: 4, A0: 10, A1: 11, A2: 12, A7: 17 } as const;

/** Reads and changes a register file. */
export class Registers {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  static copy(bytes: Uint8Array): Registers {
    return new Registers(Uint8Array.from(bytes));
  }
  /** Unsigned, exact up to 2^53. */
  get(register: number): number {
    return this.view.getUint32(register * 8, true) + this.view.getUint32(register * 8 + 4, true) * 4294967296;
  }
  set(register: number, value: number): void {
    this.view.setBigInt64(register * 8, BigInt(value), true);
  }
  get pc(): number {
    return this.get(0);
  }
  set pc(value: number) {
    this.set(0, value);
  }
}
