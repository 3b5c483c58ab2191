/** The suite `sqlite`: 100,000 rows put into a table of a new database, in one transaction, by the sqlite3 program. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BenchHost, ensureImage } from "./host.ts";
import type { Sample, Work } from "./measure.ts";
import { those, timeHere, underQemu } from "./peers.ts";
import { CACHE } from "./places.ts";
import { mustBeOk, run } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import { parseTimes } from "./results.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

const ROWS = 100_000;
const PROGRAM = "usr/bin/sqlite3";
const CREATE = "CREATE TABLE t(id INTEGER PRIMARY KEY, number INTEGER, name TEXT);";
const RESULT = "SELECT count(*), sum(number), max(name) FROM t;";
const numberOf = (row: number): number => (row * 7919) % 100_003;

/** The same rows by one statement each, and by one statement for all. */
const SCRIPTS: Readonly<Record<string, () => string>> = {
  inserts: () => {
    const lines = [CREATE, "BEGIN;"];
    for (let row = 1; row <= ROWS; row++) lines.push(`INSERT INTO t VALUES(${row}, ${numberOf(row)}, 'row ${row}');`);
    return [...lines, "COMMIT;", RESULT, ""].join("\n");
  },
  "insert-select": () =>
    [
      CREATE,
      "BEGIN;",
      `WITH RECURSIVE n(row) AS (SELECT 1 UNION ALL SELECT row + 1 FROM n WHERE row < ${ROWS})`,
      "INSERT INTO t SELECT row, (row * 7919) % 100003, 'row ' || row FROM n;",
      "COMMIT;",
      RESULT,
      "",
    ].join("\n"),
};

async function prepare(context: Context): Promise<Ready> {
  const { say, wanted } = context;
  await ensureImage("sqlite", say);
  const native = peer("sqlite3", "sqlite3", say);
  const qemu = await underQemu(context, "sqlite");
  const timed = buildPrograms("riscv", say);
  const folder = join(CACHE, "sqlite");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(SCRIPTS)) writeFileSync(join(folder, `${name}.sql`), text());
  for (const [who, command] of [
    ["native", native === undefined ? undefined : [native, "--version"]],
    ["riscv64", qemu?.(PROGRAM, "--version")],
  ] as const) {
    if (command !== undefined) say(`sqlite3, ${who}: ${(await run(command[0]!, command.slice(1))).stdout.split(" ")[0]}`);
  }
  const host = await BenchHost.start();

  const withDatabase = async (measure: (database: string) => Promise<Sample & { stdout: string }>): Promise<Sample> => {
    const place = mkdtempSync(join(tmpdir(), "cvm-bench-"));
    try {
      const { stdout, ...sample } = await measure(join(place, "t.db"));
      return { ...sample, checksum: stdout.trim() };
    } finally {
      rmSync(place, { recursive: true });
    }
  };
  const works = Object.keys(SCRIPTS).map((name): Work => {
    const read = (path: string): string[] => ["-bail", "-init", "/dev/null", "-cmd", `.read ${path}`];
    const script = join(folder, `${name}.sql`);
    return {
      suite: "sqlite",
      name,
      unit: "s",
      better: "less",
      target: targetOf("sqlite", name),
      by: those({
        native: native === undefined ? undefined : () => withDatabase((db) => timeHere(context, name, [native, ...read(script), db, ""])),
        "qemu-riscv64":
          qemu === undefined ? undefined : () => withDatabase((db) => timeHere(context, name, qemu(PROGRAM, ...read(script), db, ""))),
        // Timed in the cVM: making the cVM does not count.
        cVM: async () => {
          const before = host.cpu();
          const ended = mustBeOk(
            name,
            await host.run({
              image: "sqlite",
              argv: ["/bench/timed", `/${PROGRAM}`, ...read(`/sql/${name}.sql`), "/tmp/t.db", ""],
              volumes: { "/bench": timed, "/sql": folder },
            }),
          );
          return { value: parseTimes(ended.stderr).wall, cpu: host.cpu() - before, checksum: ended.stdout.trim() };
        },
      }),
    };
  });
  return { works: works.filter(({ name }) => wanted(name)), stop: () => host.stop() };
}

export const sqlite: Suite = { name: "sqlite", names: () => Object.keys(SCRIPTS), prepare };
