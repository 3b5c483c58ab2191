/** ELF files made for tests. */
export interface TestSegment {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly memoryBytes?: number;
  /** PF_X 1, PF_W 2, PF_R 4. */
  readonly flags?: number;
}
export interface TestElf {
  readonly segments: readonly TestSegment[];
  readonly entry?: number;
  readonly type?: number;
  readonly machine?: number;
  readonly elfClass?: number;
  readonly interpreter?: string;
}

const PAGE = 4096;

/** Headers in the first page, each segment on pages of its own (offset congruent to the address). */
export function makeElf({ segments, entry, type = 2, machine = 243, elfClass = 2, interpreter }: TestElf): Uint8Array {
  let offset = PAGE;
  const placed = segments.map((segment) => {
    const at = offset + (segment.address % PAGE);
    offset = Math.ceil((at + segment.bytes.length) / PAGE) * PAGE;
    return { ...segment, at };
  });
  const name = interpreter === undefined ? null : new TextEncoder().encode(`${interpreter}\0`);
  const count = segments.length + (name === null ? 0 : 1);
  const bytes = new Uint8Array(
    Math.max(
      PAGE,
      placed.reduce((end, { at, bytes: content }) => Math.max(end, at + content.length), 0),
    ),
  );
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, elfClass, 1, 1, 0]);
  view.setUint16(16, type, true);
  view.setUint16(18, machine, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(entry ?? segments[0]?.address ?? 0), true);
  view.setBigUint64(32, 64n, true);
  view.setUint32(48, 5, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, count, true);
  const header = (
    index: number,
    kind: number,
    flags: number,
    at: number,
    address: number,
    fileBytes: number,
    memoryBytes: number,
  ): void => {
    const base = 64 + index * 56;
    view.setUint32(base, kind, true);
    view.setUint32(base + 4, flags, true);
    for (const [field, value] of [
      [8, at],
      [16, address],
      [24, address],
      [32, fileBytes],
      [40, memoryBytes],
      [48, PAGE],
    ] as const)
      view.setBigUint64(base + field, BigInt(value), true);
  };
  placed.forEach(({ at, address, bytes: content, memoryBytes, flags }, index) => {
    header(index, 1, flags ?? 5, at, address, content.length, memoryBytes ?? content.length);
    bytes.set(content, at);
  });
  if (name !== null) {
    const at = 64 + count * 56;
    header(segments.length, 3, 4, at, 0, name.length, name.length);
    bytes.set(name, at);
  }
  return bytes;
}
