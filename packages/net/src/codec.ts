import { Packr } from "msgpackr";
import { NetError } from "./errors.ts";
import type { Frame, LinkLimits } from "./transport.ts";
import { measureFrame } from "./transport.ts";

// Records (msgpackr's own extension) would keep state between frames; plain MessagePack maps do not.
const packr = new Packr({ useRecords: false, mapsAsObjects: true });

/** A frame as MessagePack bytes. @throws NetError `invalid`, `limit` */
export function encode(frame: Frame, limits: LinkLimits): Uint8Array {
  measureFrame(frame, limits);
  const bytes = packr.pack(frame);
  // Characters outside ASCII take more bytes than `measure` counts.
  if (bytes.length > limits.frameBytes)
    throw new NetError("limit", `a frame of ${bytes.length} bytes is longer than the limit of ${limits.frameBytes}`);
  return bytes;
}

/** The frame in MessagePack bytes. @throws NetError `protocol` */
export function decode(bytes: Uint8Array): Frame {
  let frame: unknown;
  try {
    frame = packr.unpack(bytes);
  } catch (cause) {
    throw new NetError("protocol", "a frame that is not MessagePack arrived", { cause });
  }
  if (!Array.isArray(frame)) throw new NetError("protocol", "a frame that is no array arrived");
  return frame;
}
