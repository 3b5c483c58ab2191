import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HealthMonitor } from "./health.ts";
import type { Probe } from "./health.ts";
import type { Health, HealthCheck } from "./protocol.ts";

const CHECK: HealthCheck = { argv: ["check"], intervalMs: 1000, timeoutMs: 300, retries: 3, startPeriodMs: 0, startIntervalMs: 100 };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A monitor whose checks end as `codes` say, one after the other; null: never. */
function watch(changes: Partial<HealthCheck>, codes: (number | null)[]): { found: Health[]; kills: number; monitor: HealthMonitor } {
  const found: Health[] = [];
  let probe: Probe | undefined;
  const result = { found, kills: 0, monitor: undefined as unknown as HealthMonitor };
  result.monitor = new HealthMonitor(
    { ...CHECK, ...changes },
    {
      start: async (next) => {
        probe = next;
        const code = codes.shift();
        if (code === undefined) throw new Error("no such program");
        next.output(Buffer.from("seen "));
        if (code !== null) next.ended(code);
      },
      kill: () => {
        result.kills++;
        probe?.ended(137);
      },
    },
    (health) => found.push(health),
  );
  return result;
}

const statuses = (found: readonly Health[]): string[] => found.map(({ status, failures }) => `${status} ${failures}`);

test("the first success makes it healthy, after one interval", async () => {
  const { found } = watch({}, [0]);
  await vi.advanceTimersByTimeAsync(999);
  expect(statuses(found)).toEqual(["starting 0"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(statuses(found)).toEqual(["starting 0", "healthy 0"]);
  expect(found[1]!.last).toEqual({ exitCode: 0, output: "seen " });
});

test("so many failures in a row make it unhealthy, one success healthy again", async () => {
  const { found } = watch({}, [0, 1, 1, 0, 1, 1, 1, 0]);
  await vi.advanceTimersByTimeAsync(8000);
  expect(statuses(found).slice(1, 9)).toEqual([
    "healthy 0",
    "healthy 1",
    "healthy 2",
    "healthy 0",
    "healthy 1",
    "healthy 2",
    "unhealthy 3",
    "healthy 0",
  ]);
});

test("failures in the start period do not count, and checks come in its own interval", async () => {
  const { found } = watch({ startPeriodMs: 350 }, [1, 1, 1, 1, 0]);
  await vi.advanceTimersByTimeAsync(350);
  expect(statuses(found)).toEqual(["starting 0", "starting 0", "starting 0", "starting 0"]);
  await vi.advanceTimersByTimeAsync(50);
  expect(statuses(found).at(-1)).toBe("starting 1");
  await vi.advanceTimersByTimeAsync(1000);
  expect(statuses(found).at(-1)).toBe("healthy 0");
});

test("one that does not end is killed and has failed", async () => {
  const watched = watch({ retries: 1 }, [null]);
  await vi.advanceTimersByTimeAsync(1299);
  expect(watched.kills).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(watched.kills).toBe(1);
  expect(watched.found.at(-1)).toEqual({ status: "unhealthy", failures: 1, last: { output: "seen killed after 300 ms" } });
});

test("one that cannot be executed has failed", async () => {
  const { found } = watch({ retries: 1 }, []);
  await vi.advanceTimersByTimeAsync(1000);
  expect(found.at(-1)).toEqual({ status: "unhealthy", failures: 1, last: { output: "no such program" } });
});

test("after stop nothing is told any more", async () => {
  const { found, monitor } = watch({}, [0, 0]);
  monitor.stop();
  await vi.advanceTimersByTimeAsync(5000);
  expect(found).toHaveLength(1);
});
