/** Logs of several cVMs as one, by time. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CvmState } from "../host/protocol.ts";
import { readLog } from "../host/records.ts";
import type { LogLine } from "../host/records.ts";
import { PrefixedOutput } from "./output.ts";
import { Label, labelOf } from "./plan.ts";
import { nameOf } from "./up.ts";

export interface LogOptions {
  readonly follow: boolean;
  readonly tail: number;
  readonly timestamps: boolean;
  readonly colour: boolean;
  readonly prefix: boolean;
}

/** A whole line of a log. */
export interface TimedLine {
  readonly time: string;
  readonly text: string;
}

/** Whole lines of records from `from` on; `next` is where the first line that is not whole begins. */
export function wholeLines(records: readonly LogLine[], from: number, complete: boolean): { lines: TimedLine[]; next: number } {
  const lines: TimedLine[] = [];
  const open = new Map<string, { time: string; text: string; index: number }>();
  for (let index = from; index < records.length; index++) {
    const { log, stream, time } = records[index]!;
    const begun = open.get(stream) ?? { time, text: "", index };
    begun.text += log;
    open.set(stream, begun);
    if (!begun.text.endsWith("\n")) continue;
    open.delete(stream);
    lines.push({ time: begun.time, text: begun.text.replace(/\r?\n$/u, "") });
  }
  if (complete) {
    for (const { time, text } of open.values()) lines.push({ time, text });
    return { lines, next: records.length };
  }
  if (open.size === 0) return { lines, next: records.length };
  // What was whole behind an open line must not be shown twice: only open lines at the end are held back.
  const first = Math.min(...[...open.values()].map((one) => one.index));
  return first + open.size === records.length || lines.length === 0
    ? { lines, next: first }
    : wholeLines(records.slice(0, first), from, false);
}

/** Name before the lines of a project's cVM. */
export function shownName(state: CvmState): string {
  const service = labelOf(state, Label.SERVICE) ?? state.config.name;
  const number = labelOf(state, Label.NUMBER) ?? "";
  const own = state.config.name.endsWith(`-${service}-${number}`) ? undefined : state.config.name;
  return nameOf(state.config.name, { name: service, cvmName: own });
}

/**
 * Shows the logs.
 * @param current asks for the cVMs as they are now
 */
export async function showLogs(current: () => Promise<readonly CvmState[]>, options: LogOptions): Promise<void> {
  const output = new PrefixedOutput(options);
  const shown = new Map<string, number>();
  const show = (states: readonly CvmState[], first: boolean, complete: (state: CvmState) => boolean): void => {
    const all: (TimedLine & { readonly name: string })[] = [];
    for (const state of states) {
      const name = shownName(state);
      output.add(name);
      const { lines, next } = wholeLines(readLog(state.id), shown.get(state.id) ?? 0, complete(state));
      shown.set(state.id, next);
      const from = first && Number.isFinite(options.tail) ? Math.max(0, lines.length - options.tail) : 0;
      all.push(...lines.slice(from).map((line) => ({ ...line, name })));
    }
    all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    for (const { time, text, name } of all) output.line(name, options.timestamps ? `${time} ${text}` : text);
  };
  const isUp = (state: CvmState): boolean => state.status === "running" || state.status === "restarting";
  let states = await current();
  show(states, true, (state) => !options.follow || !isUp(state));
  while (options.follow && states.some(isUp)) {
    await sleep(200);
    states = await current();
    show(states, false, (state) => !isUp(state));
  }
}
