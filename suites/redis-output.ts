/** What Redis's Tcl suite printed, as counts for each of its files. */
import type { Counts } from "./result.ts";

export interface RedisUnit extends Counts {
  readonly unit: string;
  /** Seconds as the suite told them; undefined when the unit did not come to its end. */
  readonly seconds?: number;
}

interface Open {
  unit: string;
  passed: number;
  skipped: number;
  failed: string[];
}

const close = ({ unit, passed, skipped, failed }: Open, seconds?: number): RedisUnit => ({
  unit,
  run: passed + skipped + failed.length,
  passed,
  skipped,
  failed,
  ...(seconds === undefined ? {} : { seconds }),
});

/** Units in the order in which they ran. The suite runs them one after the other against a server that it did not start. */
export function parseRedisSuite(text: string): RedisUnit[] {
  const units: RedisUnit[] = [];
  let open: Open | undefined;
  for (const line of text.split(/\r?\n/u)) {
    const begin = /^Testing (unit\/\S+|integration\/\S+)$/u.exec(line);
    if (begin !== null) {
      if (open !== undefined) units.push(close(open));
      open = { unit: begin[1]!, passed: 0, skipped: 0, failed: [] };
      continue;
    }
    if (open === undefined) continue;
    const told = /^\[(ok|err|exception|skip|ignore|TIMEOUT)\]: ?(.*)$/u.exec(line);
    if (told !== null) {
      const [, kind, rest] = told as unknown as [string, string, string];
      if (kind === "ok") open.passed++;
      else if (kind === "skip" || kind === "ignore") open.skipped++;
      else open.failed.push(kind === "err" ? rest.replace(/ in tests\/\S+$/u, "") : `${kind}: ${rest}`);
      continue;
    }
    const done = /^\[\d+\/\d+ done\]: (\S+) \((\d+) seconds\)$/u.exec(line);
    if (done !== null && done[1] === open.unit) {
      units.push(close(open, Number(done[2])));
      open = undefined;
    }
  }
  if (open !== undefined) units.push(close(open));
  return units;
}
