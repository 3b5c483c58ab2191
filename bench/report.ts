/** Outcomes as a table and as JSON. */
import { CONTESTANTS, type Contestant, type Outcome } from "./measure.ts";
import { humanNumber, median, speedRatio, spread, type Spread } from "./statistics.ts";
import type { Target } from "./targets.ts";

/** One contestant's figure. */
export interface Figure {
  readonly median: number;
  readonly spread: Spread;
  readonly samples: readonly number[];
}

/** A work's line. */
export interface Row {
  readonly suite: string;
  readonly name: string;
  readonly unit: string;
  readonly figures: Partial<Readonly<Record<Contestant, Figure>>>;
  readonly failures: Partial<Readonly<Record<Contestant, string>>>;
  /** How many times as fast as the peer the cVM is. */
  readonly ratios: { readonly qemu?: number; readonly native?: number };
  readonly target?: Target;
  /** Undefined: there is nothing to reach, or a peer to compare with is missing. */
  readonly met?: boolean;
}

/** Whether ratios reach a target. One that has not been measured leaves it open, unless another has missed already. */
export function isMet(ratios: Row["ratios"], target: Target): boolean | undefined {
  let open = false;
  for (const peer of ["qemu", "native"] as const) {
    const wanted = target[peer];
    if (wanted === undefined) continue;
    const ratio = ratios[peer];
    if (ratio === undefined) open = true;
    else if (ratio < wanted) return false;
  }
  return open ? undefined : true;
}

/** @param byCpu figures by processor time; a contestant without it has none */
export function rowOf({ work, samples, failures }: Outcome, byCpu: boolean): Row {
  const figures: Partial<Record<Contestant, Figure>> = {};
  for (const [who, list] of samples) {
    if (failures.has(who)) continue;
    const values = list.flatMap(({ value, cpu }) => (byCpu ? (cpu ?? []) : value));
    if (values.length > 0) figures[who] = { median: median(values), spread: spread(values), samples: values };
  }
  const mine = figures.cVM;
  const ratio = (peer: Figure | undefined): number | undefined =>
    mine === undefined || peer === undefined ? undefined : speedRatio(mine.median, peer.median, work.better);
  const qemu = ratio(figures["qemu-riscv64"]);
  const native = ratio(figures.native);
  const ratios = { ...(qemu === undefined ? {} : { qemu }), ...(native === undefined ? {} : { native }) };
  const { target } = work;
  const met = target === undefined ? undefined : failures.has("cVM") ? false : isMet(ratios, target);
  return {
    suite: work.suite,
    name: work.name,
    unit: work.unit,
    figures,
    failures: Object.fromEntries(failures),
    ratios,
    ...(target === undefined ? {} : { target }),
    ...(met === undefined ? {} : { met }),
  };
}

/** Columns padded to the widest cell. */
export function align(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

const percent = (share: number): string => `${Math.round(share * 100)}`;

/** `12.3 k (-3 +5 %)`. */
function figureText(row: Row, who: Contestant): string {
  const figure = row.figures[who];
  if (figure === undefined) return row.failures[who] === undefined ? "-" : "failed";
  const text = humanNumber(figure.median);
  return figure.samples.length < 2 ? text : `${text} (-${percent(figure.spread.below)} +${percent(figure.spread.above)} %)`;
}

const ratioText = (ratio: number | undefined): string => (ratio === undefined ? "-" : ratio.toFixed(ratio < 1 ? 3 : 2));

function targetText({ qemu, native }: Target): string {
  return [qemu === undefined ? [] : `${qemu} qemu`, native === undefined ? [] : `${native} native`].flat().join(", ");
}

/** A table of rows, then a line for each that failed, then how many figures are reached. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [
    ["suite", "work", "unit", ...CONTESTANTS, "x qemu", "x native", "to reach", ""],
    ...rows.map((row) => [
      row.suite,
      row.name,
      row.unit,
      ...CONTESTANTS.map((who) => figureText(row, who)),
      ratioText(row.ratios.qemu),
      ratioText(row.ratios.native),
      row.target === undefined ? "-" : targetText(row.target),
      row.target === undefined ? "" : row.met === undefined ? "open" : row.met ? "met" : "not met",
    ]),
  ];
  const failed = rows.flatMap((row) =>
    Object.entries(row.failures).map(([who, why]) => `failed: ${row.suite} ${row.name}, ${who}: ${why}`),
  );
  const wanted = rows.filter((row) => row.target !== undefined);
  const met = wanted.filter((row) => row.met === true).length;
  const open = wanted.filter((row) => row.met === undefined).length;
  const summary = wanted.length === 0 ? [] : [`${met} of ${wanted.length} figures met${open > 0 ? `, ${open} open` : ""}`];
  return [align(lines), ...failed, ...summary].join("\n");
}
