/**
 * Text of programs: UTF-8 by convention, any bytes in fact. A byte that is no UTF-8 becomes the character U+10FF00 + byte, of a
 * private range, and comes back as that byte. A program's own characters of that range are taken for four such bytes each, so
 * that nothing is lost. All such text is valid Unicode: it passes ports, JSON and the host's file names.
 */
const KEPT = 0x10ff00;
/** Of bytes as Latin-1: characters of UTF-8 outside that range, or (in the group) one byte that is none of them. */
const PIECES =
  /[\0-\x7f]+|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4(?:[\x80-\x8e][\x80-\xbf]|\x8f[\x80-\xbb])[\x80-\xbf]|([^])/gu;

/** Bytes as text. */
export function decodeText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = buffer.toString();
  if (!text.includes("\ufffd") && !text.includes("\udbff")) return text;
  return buffer
    .toString("latin1")
    .replace(PIECES, (piece: string, byte?: string) =>
      byte === undefined ? Buffer.from(piece, "latin1").toString() : String.fromCodePoint(KEPT + byte.charCodeAt(0)),
    );
}

/** Text as the bytes that it came from. */
export function encodeText(text: string): Uint8Array {
  if (!text.includes("\udbff")) return Buffer.from(text);
  // Every second piece is a byte that was kept.
  const pieces = text.split(/([\u{10ff00}-\u{10ffff}])/u);
  return Buffer.concat(pieces.map((piece, index) => (index % 2 === 0 ? Buffer.from(piece) : Buffer.of(piece.codePointAt(0)! - KEPT))));
}
