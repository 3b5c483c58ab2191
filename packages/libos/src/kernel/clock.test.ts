import { afterEach, describe, expect, test, vi } from "vitest";
import type { SyscallReply } from "@cvm/monitor/abi";
import { makeElf } from "../test-support/elf.ts";
import { World } from "../test-support/world.ts";
import { VDSO } from "../elf/vdso.ts";
import { Clock, Clocks, ticks, wall } from "./clock.ts";

const PAGE = 4096;
const HOUR_NS = 3_600_000_000_000n;
const program = makeElf({ segments: [{ address: 0x10000, bytes: Uint8Array.of(0x73, 0, 0, 0) }] });

/** What the vDSO makes of a page at a tick; undefined where it asks. */
function told(page: Uint8Array, clock: number, tick: number): bigint | undefined {
  const offset = new DataView(page.buffer, page.byteOffset).getBigInt64(8 * clock, true);
  return offset === 0n ? undefined : BigInt(tick) * 100n + offset;
}
function nanoseconds(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getBigInt64(0, true) * 1_000_000_000n + view.getBigInt64(8, true);
}

afterEach(() => {
  vi.restoreAllMocks();
  wall.check();
});

describe("clocks", () => {
  test("a system call and the page tell the same nanosecond at the same tick", () => {
    const clocks = new Clocks();
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (const now of [1000.00005, 123_456.789_012, 5_000_000_000.1]) {
      vi.spyOn(performance, "now").mockReturnValue(now);
      const page = clocks.page();
      const shown = Object.entries(Clock).filter(([, clock]) => told(page, clock, ticks()) !== undefined);
      expect(shown.map(([name]) => name).toSorted()).toEqual(
        ["REALTIME", "REALTIME_COARSE", "MONOTONIC", "MONOTONIC_COARSE", "MONOTONIC_RAW", "BOOTTIME", "TAI"].toSorted(),
      );
      for (const [, clock] of shown) {
        expect(clocks.write(clock, view)).toBe(true);
        expect(nanoseconds(bytes)).toBe(told(page, clock, ticks()));
      }
    }
    expect(clocks.write(Clock.PROCESS_CPUTIME, view)).toBe(false);
    expect(clocks.write(10, view)).toBe(false);
  });

  test("the wall clock is this host's, to 3 ms", () => {
    expect(Math.abs(new Clocks().realtime() - Date.now())).toBeLessThan(3 + 1);
  });
});

describe("in a process", () => {
  const start = async (): Promise<World> => {
    const world = new World({ "bin/program": program }, { argv: ["/bin/program"] });
    await world.os.start();
    return world;
  };
  /** Addresses of [vvar] and [vdso] by the process's maps. */
  const places = (world: World): { vvar: number; vdso: number } => {
    const pages = [...world.spaces.get(1)!.pages.keys()].toSorted((a, b) => a - b);
    const vdso = pages.findLast((page) => world.prot(1, page * PAGE) === 5)! * PAGE;
    return { vvar: vdso - PAGE, vdso };
  };

  test("the object is mapped, readable and executable; the page below it is read-only", async () => {
    const world = await start();
    const { vvar, vdso } = places(world);
    expect(world.read(1, vdso, PAGE)).toEqual(VDSO);
    expect(world.prot(1, vvar)).toBe(1);
    expect(told(world.read(1, vvar, PAGE)!, Clock.MONOTONIC, ticks())).toBeGreaterThan(0n);
    world.dispose();
  });

  test("after the host's clock was set all processes see it, forked ones too; a page that was unmapped is left alone", async () => {
    const world = await start();
    const { vvar } = places(world);
    const child = (world.call(1, "clone", 17, 0, 0, 0, 0) as SyscallReply).result;
    const grandchild = (world.call(1, "clone", 17, 0, 0, 0, 0) as SyscallReply).result;
    expect(child).toBeGreaterThan(1);
    expect(world.result(grandchild, "munmap", vvar, PAGE)).toBe(0);
    expect(world.result(grandchild, "mmap", vvar, PAGE, 3, 0x32, -1, 0)).toBe(vvar);
    const spaces = [...world.spaces.keys()];
    const page = (space: number): Uint8Array => world.read(space, vvar, PAGE)!;
    const before = spaces.map((space) => told(page(space), Clock.REALTIME, 0));
    const monotonic = told(page(1), Clock.MONOTONIC, 0);
    const { now } = Date;
    vi.spyOn(Date, "now").mockImplementation(() => now() + 3_600_000);
    wall.check();
    for (const index of [0, 1]) {
      const moved = told(page(spaces[index]!), Clock.REALTIME, 0)! - before[index]!;
      expect(moved).toBeGreaterThan(HOUR_NS - 5_000_000n);
      expect(moved).toBeLessThan(HOUR_NS + 5_000_000n);
      expect(told(page(spaces[index]!), Clock.TAI, 0)).toBe(told(page(spaces[index]!), Clock.REALTIME, 0)! + 37_000_000_000n);
    }
    expect(told(page(1), Clock.MONOTONIC, 0)).toBe(monotonic);
    expect(page(spaces[2]!).every((byte) => byte === 0)).toBe(true);
    const { out } = world.call(1, "clock_gettime", Clock.REALTIME, 0x20000) as SyscallReply;
    const call = nanoseconds(out![0]!.value as Uint8Array);
    expect(call).toBeLessThanOrEqual(told(page(1), Clock.REALTIME, ticks())!);
    expect(call).toBeGreaterThan(told(page(1), Clock.REALTIME, ticks())! - 1_000_000_000n);
    world.dispose();
  });

  test("a cVM that has ended is not told", async () => {
    const world = await start();
    const { vvar } = places(world);
    const before = world.read(1, vvar, PAGE);
    world.os.close?.();
    const { now } = Date;
    vi.spyOn(Date, "now").mockImplementation(() => now() + 3_600_000);
    wall.check();
    expect(world.read(1, vvar, PAGE)).toEqual(before);
    world.dispose();
  });
});
