/**
 * Records of executed instructions: the RISC-V Formal Interface (RVFI), as far as RVFI-DII sends it, with the widths that CHERI
 * needs. The RVFI-DII server sends these, and recorded sequences are compared with them.
 */

export interface Execution {
  /** Instructions since the reset, this one included, whether they retired or not. */
  readonly order: number;
  /** The instruction: 16 bits or 32, unsigned. */
  readonly insn: number;
  /** It raised an exception; then it wrote nothing. */
  readonly trap: boolean;
  /** It is the first one of a trap handler. */
  readonly intr: boolean;
  /** Privilege that it ran with: 0 user, 1 supervisor, 3 machine. */
  readonly mode: number;
  /** Absolute address that it was fetched from. The wire does not carry it. */
  readonly address: bigint;
  /** Architectural pc (an offset from PCC's base where PCC relocates) before and after, 64 bits, unsigned. */
  readonly pcBefore: bigint;
  readonly pcAfter: bigint;
  /** Integer or capability register that it wrote, and its integer value or address; both 0 if none, or x0. */
  readonly rd: number;
  readonly rdValue: bigint;
  /** Registers that it read, and their values before; 0 where none. */
  readonly rs1: number;
  readonly rs1Value: bigint;
  readonly rs2: number;
  readonly rs2Value: bigint;
  /** Absolute address of its memory access; of the refused one when it is an access fault; otherwise 0. */
  readonly memoryAddress: bigint;
  /** A bit for each byte from there that was read or written. */
  readonly readMask: number;
  readonly writeMask: number;
  /** Little endian: bits 0 … 127 as in memory; bit 128 is the tag of a capability. */
  readonly readData: bigint;
  readonly writeData: bigint;
}
