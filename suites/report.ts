/** Results as a table and as JSON. */
import { align } from "../bench/report.ts";
import { KNOWN } from "./modules.ts";
import { isGood, type ModuleResult } from "./result.ts";

/** One line for each module, a sum for each suite, then what failed. */
export function tableOf(results: readonly ModuleResult[]): string {
  const line = (
    suite: string,
    module: string,
    { run, passed, failed, skipped, seconds }: { run: number; passed: number; failed: number; skipped: number; seconds: number },
    end: string,
  ): string[] => [suite, module, ...[run, passed, failed, skipped].map(String), seconds.toFixed(1), end];
  const lines = [
    ["suite", "module", "run", "passed", "failed", "skipped", "seconds", ""],
    ...results.map((one) =>
      line(
        one.suite,
        one.module,
        { ...one, failed: one.failed.length },
        [
          one.broken ?? (!isGood(one) ? "failed" : one.failed.length > 0 ? "known" : "ok"),
          ...(one.note === undefined ? [] : [one.note]),
        ].join("; "),
      ),
    ),
    ...[...new Set(results.map(({ suite }) => suite))].map((suite) => {
      const own = results.filter((one) => one.suite === suite);
      const sum = (of: (one: ModuleResult) => number): number => own.reduce((total, one) => total + of(one), 0);
      const sums = {
        run: sum((one) => one.run),
        passed: sum((one) => one.passed),
        failed: sum((one) => one.failed.length),
        skipped: sum((one) => one.skipped),
        seconds: sum((one) => one.seconds),
      };
      return line(suite, `all ${own.length}`, sums, `${own.filter(isGood).length} modules ok`);
    }),
  ];
  const failures = results.flatMap(({ suite, module, failed }) =>
    failed.map((name) => `failed: ${suite} ${module}: ${name}${name in KNOWN ? ` (known: ${KNOWN[name]})` : ""}`),
  );
  return [align(lines), ...failures].join("\n");
}
