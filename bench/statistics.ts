/** Figures of samples. */

/** The middle one of a list, or the mean of the two in the middle; NaN of none. */
export function median(list: readonly number[]): number {
  const sorted = list.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** How far the lowest and the highest lie from the median, as fractions of it: `{ below: 0.05, above: 0.1 }`. */
export interface Spread {
  readonly below: number;
  readonly above: number;
}
export function spread(list: readonly number[]): Spread {
  const middle = median(list);
  return { below: 1 - Math.min(...list) / middle, above: Math.max(...list) / middle - 1 };
}

/** NaN of none, and where one is not positive. */
export function geometricMean(list: readonly number[]): number {
  if (list.length === 0 || list.some((value) => !(value > 0))) return Number.NaN;
  return Math.exp(list.reduce((sum, value) => sum + Math.log(value), 0) / list.length);
}

/** What a figure says: work per time (more is better) or time per work. */
export type Better = "more" | "less";

/** How many times as fast the first is as the second. */
export function speedRatio(mine: number, other: number, better: Better): number {
  return better === "more" ? mine / other : other / mine;
}

const SCALES: readonly (readonly [number, string])[] = [
  [1e9, " G"],
  [1e6, " M"],
  [1e3, " k"],
  [1, ""],
  [1e-3, " m"],
  [1e-6, " u"],
  [1e-9, " n"],
];

/** Three digits that count and a decimal prefix: `12.3 k`. */
export function humanNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  // What would round to 1000 takes the next prefix.
  const [scale, prefix] = SCALES.find(([size]) => Math.abs(value) >= size * 0.9995) ?? SCALES.at(-1)!;
  const scaled = value / scale;
  const digits = Math.abs(scaled) >= 99.95 ? 0 : Math.abs(scaled) >= 9.995 ? 1 : 2;
  return `${scaled.toFixed(digits)}${prefix}`;
}
