/** Which blocks of a file hold nothing: what lseek(2) finds with SEEK_DATA and SEEK_HOLE, and st_blocks leaves out. */

/** Bytes of a block. */
export const BLOCK = 4096;

const up = (position: number): number => Math.ceil(position / BLOCK) * BLOCK;
const down = (position: number): number => Math.floor(position / BLOCK) * BLOCK;

/** Ranges of whole blocks, sorted, that do not touch each other. They read as zeros. */
export class Holes {
  #ranges: { start: number; end: number }[] = [];

  /** Bytes in holes. */
  get bytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }
  /** Whole blocks of a range hold nothing from now on. */
  add(from: number, to: number): void {
    let start = up(from);
    let end = down(to);
    if (start >= end) return;
    const rest = this.#ranges.filter((range) => {
      if (range.end < start || range.start > end) return true;
      start = Math.min(start, range.start);
      end = Math.max(end, range.end);
      return false;
    });
    const index = rest.findIndex((range) => range.start > end);
    rest.splice(index < 0 ? rest.length : index, 0, { start, end });
    this.#ranges = rest;
  }
  /** Blocks that a range touches hold something. */
  fill(from: number, to: number): void {
    const start = down(from);
    const end = up(to);
    const index = this.#first(start);
    if (index === this.#ranges.length || this.#ranges[index]!.start >= end) return;
    this.#ranges = this.#ranges.flatMap((range) => {
      if (range.end <= start || range.start >= end) return [range];
      const left = range.start < start ? [{ start: range.start, end: start }] : [];
      return range.end > end ? [...left, { start: end, end: range.end }] : left;
    });
  }
  /** The file was changed from `before` to `after` bytes. */
  resize(before: number, after: number): void {
    if (after < before) this.fill(up(after), Infinity);
    else this.add(before, up(after));
  }
  /** The first byte of data at or behind a position; `size` when there is none. */
  data(position: number, size: number): number {
    const range = this.#ranges[this.#first(position)];
    return range === undefined || range.start > position ? position : Math.min(range.end, size);
  }
  /** The start of the first hole at or behind a position; every file ends with one. */
  hole(position: number, size: number): number {
    const range = this.#ranges[this.#first(position)];
    return range === undefined ? size : Math.min(Math.max(range.start, position), size);
  }
  /** Index of the first range that ends behind a position. */
  #first(position: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ranges[middle]!.end > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
