/**
 * What goes over the stream that carries the datagrams of one cVM and its questions for names to the host and back: frames with a
 * length before them. The stream is a connection to {@link RELAY}; nobody has that address, and programs cannot connect to it.
 */
import type { Endpoint } from "@cvm/monitor/abi";
import { formatAddress, fromSixBytes, parseAddress, sixBytes } from "./address.ts";

export const RELAY: Endpoint = { address: "10.88.0.0", port: 1 };

export const FrameKind = {
  /** A datagram to, or from, the remote address. */
  DATA: 0,
  /** The datagram from the local port to the remote address, or the other way round, met an error: its number is the first byte. */
  ERROR: 1,
  /** A question for names, numbered by the local port: type (u16) and name. Answered by the same number. */
  QUERY: 2,
  /** Response code (u8), then records: type (u16), seconds to keep it (u32), length (u16), data. */
  ANSWER: 3,
} as const;

export interface Frame {
  readonly kind: (typeof FrameKind)[keyof typeof FrameKind];
  /** As in {@link Endpoint}. */
  readonly address: string;
  readonly remotePort: number;
  readonly localPort: number;
  readonly bytes: Uint8Array;
}

/** Length (u32, of what follows), kind, address, two ports. */
const HEADER_BYTES = 4 + 1 + 16 + 2 + 2;
/** Most bytes of one datagram. */
export const DATAGRAM_BYTES = 65507;

export function encodeFrame({ kind, address, remotePort, localPort, bytes }: Frame): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, frame.length - 4);
  frame[4] = kind;
  frame.set(sixBytes(parseAddress(address)), 5);
  view.setUint16(21, remotePort);
  view.setUint16(23, localPort);
  frame.set(bytes, HEADER_BYTES);
  return frame;
}

/** Takes frames out of a stream. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  /** The frames that these bytes complete; null, and from then on, when they are none. */
  read(bytes: Uint8Array): Frame[] | null {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    while (rest.length >= 4) {
      const view = new DataView(rest.buffer, rest.byteOffset, rest.length);
      const length = 4 + view.getUint32(0);
      if (length < HEADER_BYTES || length > HEADER_BYTES + DATAGRAM_BYTES || (rest.length > 4 && rest[4]! > FrameKind.ANSWER)) {
        this.#rest = new Uint8Array(rest.subarray(0, 4));
        return null;
      }
      if (rest.length < length) break;
      frames.push({
        kind: rest[4] as Frame["kind"],
        address: formatAddress(fromSixBytes(rest, 5)),
        remotePort: view.getUint16(21),
        localPort: view.getUint16(23),
        bytes: new Uint8Array(rest.subarray(HEADER_BYTES, length)),
      });
      rest = rest.subarray(length);
    }
    this.#rest = new Uint8Array(rest);
    return frames;
  }
}
