/**
 * A pack: a file of encoded units that is written once. A header with the authentication of all that follows up to the bodies; for each unit
 * what it is and where its body is, with the body's hash; the keys of the entries; then the bodies, which are read when they are wanted.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { HEAD_BYTES } from "@cvm/cpu";

const MAGIC = "cvm-pack";
/** Magic, counts of units and keys, bytes of the file, 8 spare, HMAC-SHA256. */
export const HEADER_BYTES = 64;
const SIGNED_BYTES = 32;
const UNIT_BYTES = 80;
export const HEAD_RECORD_BYTES = 16;
const DIGEST_BYTES = 32;
export const IDENTITY_BYTES = 16;
const MAX_UNITS = 1 << 18;
const MAX_INDEX_BYTES = 32 << 20;

/** What a pack says of one unit. */
export interface PackUnit {
  /** Of the code that it was made from, hexadecimal: a later unit of the same code replaces it. */
  readonly identity: string;
  /** SHA-256 of the body. */
  readonly digest: Buffer;
  /** Bytes of the body; 0: the unit of this code was removed. */
  readonly length: number;
  /** When it was made, in milliseconds since 1970. */
  readonly added: number;
  /** Keys of its entries, each {@link HEAD_RECORD_BYTES}: pc as a double, hash, length. */
  readonly heads: Buffer;
}
export interface PlacedUnit extends PackUnit {
  readonly offset: number;
}

export function digestOfBody(body: Uint8Array): Buffer {
  return createHash("sha256").update(body).digest();
}
function sign(key: Buffer, fingerprint: Buffer, header: Uint8Array, index: Uint8Array): Buffer {
  return createHmac("sha256", key).update("cvm translations: index of a pack\0").update(fingerprint).update(header).update(index).digest();
}

/** Bytes of header and index in front of the bodies of units. */
export function frontBytes(units: readonly PackUnit[]): number {
  return units.reduce((sum, { heads }) => sum + UNIT_BYTES + heads.length, HEADER_BYTES);
}

/** Header and index of a pack whose bodies follow in this order; and where they are. */
export function encodeFront(
  key: Buffer,
  fingerprint: Buffer,
  units: readonly PackUnit[],
): { readonly front: Buffer; readonly offsets: readonly number[] } {
  const front = Buffer.alloc(frontBytes(units));
  const offsets: number[] = [];
  let body = front.length;
  let head = HEADER_BYTES + units.length * UNIT_BYTES;
  let heads = 0;
  units.forEach((unit, index) => {
    const at = HEADER_BYTES + index * UNIT_BYTES;
    const count = unit.heads.length / HEAD_RECORD_BYTES;
    front.write(unit.identity, at, IDENTITY_BYTES, "hex");
    unit.digest.copy(front, at + 16);
    front.writeDoubleLE(body, at + 48);
    front.writeUInt32LE(unit.length, at + 56);
    front.writeUInt32LE(heads, at + 60);
    front.writeUInt32LE(count, at + 64);
    front.writeDoubleLE(unit.added, at + 68);
    unit.heads.copy(front, head);
    offsets.push(body);
    body += unit.length;
    head += unit.heads.length;
    heads += count;
  });
  front.write(MAGIC, 0, "latin1");
  front.writeUInt32LE(units.length, 8);
  front.writeUInt32LE(heads, 12);
  front.writeDoubleLE(body, 16);
  sign(key, fingerprint, front.subarray(0, SIGNED_BYTES), front.subarray(HEADER_BYTES)).copy(front, SIGNED_BYTES);
  return { front, offsets };
}

/** Bytes of the index after a header, if the header can be one of a file of this size. */
export function indexBytes(header: Buffer, fileBytes: number): number | undefined {
  if (header.length !== HEADER_BYTES || header.toString("latin1", 0, 8) !== MAGIC || header.readDoubleLE(16) !== fileBytes)
    return undefined;
  const units = header.readUInt32LE(8);
  const bytes = units * UNIT_BYTES + header.readUInt32LE(12) * HEAD_RECORD_BYTES;
  return units <= MAX_UNITS && bytes <= MAX_INDEX_BYTES && HEADER_BYTES + bytes <= fileBytes ? bytes : undefined;
}

/** The units of a pack; undefined unless header and index are authentic and all in them is right. */
export function decodeFront(
  key: Buffer,
  fingerprint: Buffer,
  header: Buffer,
  index: Buffer,
  fileBytes: number,
  maxUnitBytes: number,
): PlacedUnit[] | undefined {
  if (indexBytes(header, fileBytes) !== index.length) return undefined;
  const expected = sign(key, fingerprint, header.subarray(0, SIGNED_BYTES), index);
  if (!timingSafeEqual(expected, header.subarray(SIGNED_BYTES))) return undefined;
  const count = header.readUInt32LE(8);
  const heads = index.subarray(count * UNIT_BYTES);
  for (let at = 0; at < heads.length; at += HEAD_RECORD_BYTES) if (heads.readUInt32LE(at + 12) > HEAD_BYTES) return undefined;
  const bodies = HEADER_BYTES + index.length;
  const units: PlacedUnit[] = [];
  for (let at = 0; at < count * UNIT_BYTES; at += UNIT_BYTES) {
    const offset = index.readDoubleLE(at + 48);
    const length = index.readUInt32LE(at + 56);
    const first = index.readUInt32LE(at + 60) * HEAD_RECORD_BYTES;
    const end = first + index.readUInt32LE(at + 64) * HEAD_RECORD_BYTES;
    const added = index.readDoubleLE(at + 68);
    if (!Number.isSafeInteger(offset) || offset < bodies || offset + length > fileBytes || length > maxUnitBytes) return undefined;
    if (end > heads.length || !(added >= 0)) return undefined;
    units.push({
      identity: index.toString("hex", at, at + IDENTITY_BYTES),
      digest: index.subarray(at + 16, at + 16 + DIGEST_BYTES),
      offset,
      length,
      added,
      heads: heads.subarray(first, end),
    });
  }
  return units;
}
