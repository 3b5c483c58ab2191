import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { MAX_CANDIDATES } from "@cvm/cpu";
import { afterEach, describe, expect, test, vi } from "vitest";
import { useTemporaryHome } from "../test-support/home.ts";
import { bytesIn, candidates, filesIn, find, keep, noise, openUnits, packsIn, unitOf } from "./units.test.support.ts";

const home = useTemporaryHome();
afterEach(() => void vi.useRealTimers());
const root = (): string => join(home(), "translations");
/** Does something with a store that is opened and closed around it. */
async function reopened<T>(action: (opened: ReturnType<typeof openUnits>) => T, changes: Parameters<typeof openUnits>[1] = {}): Promise<T> {
  const opened = openUnits(root(), changes);
  try {
    return action(opened);
  } finally {
    await opened.units.close();
  }
}

describe("units", () => {
  test("of an earlier host are found at each of their entries", async () => {
    const added = [unitOf(1), unitOf(2), unitOf(3, 0x1_0000_0000)];
    expect(await keep(root(), added)).toEqual([]);
    await reopened(({ units }) => {
      expect(units.size).toBe(3);
      for (const unit of added) for (const entry of [0, 1]) expect(find(units, unit, entry)).toEqual(unit);
    });
  });
  test("of other programs at the same pc are not even read", async () => {
    await keep(
      root(),
      Array.from({ length: 40 }, (_, program) => unitOf(program)),
    );
    await reopened(({ units }) => {
      expect(candidates(units, unitOf(7)).map(({ bytes }) => bytes)).toEqual([unitOf(7).bytes]);
      expect(candidates(units, unitOf(50))).toEqual([]);
      expect(candidates(units, unitOf(7, 0x2000))).toEqual([]);
    });
  });
  test("that begin alike come newest first, and not too many", async () => {
    const alike = Array.from({ length: MAX_CANDIDATES + 4 }, (_, index) => {
      const unit = unitOf(1);
      const bytes = unit.bytes.slice();
      bytes[180] = index;
      return { ...unit, bytes };
    });
    await keep(root(), alike);
    await reopened(({ units }) => {
      const found = candidates(units, unitOf(1)).map(({ bytes }) => bytes[180]);
      expect(found).toEqual(
        alike
          .map(({ bytes }) => bytes[180])
          .toReversed()
          .slice(0, MAX_CANDIDATES),
      );
    });
  });
  test("can be found in the host that added them when they are written, and are written in batches", async () => {
    const { units } = openUnits(root(), { limit: 256 << 20 });
    units.add(unitOf(1, 0x1000, 1 << 20));
    expect(packsIn(root())).toEqual([]);
    for (let program = 2; program <= 5; program++) units.add(unitOf(program, 0x1000, 1 << 20));
    await expect.poll(() => find(units, unitOf(3))).toBeDefined();
    expect(packsIn(root())).toHaveLength(1);
    await units.close();
  });
  test("of the same code replace each other, the later one", async () => {
    const [first, second] = [unitOf(1), noise(unitOf(1))];
    await keep(root(), [first]);
    await keep(root(), [second]);
    await reopened(({ units }) => {
      expect(candidates(units, first).map((candidate) => candidate.load()?.binary)).toEqual([second.binary]);
    });
  });
  test("that are known are not written again", async () => {
    await keep(root(), [unitOf(1)]);
    const before = filesIn(root());
    await keep(root(), [unitOf(1)]);
    expect(filesIn(root())).toEqual(before);
  });
  test("that were removed are gone for later hosts too, until they are added again", async () => {
    await keep(root(), [unitOf(1), unitOf(2)]);
    await reopened(({ units }) => {
      units.remove(candidates(units, unitOf(1))[0]!);
      expect(find(units, unitOf(1))).toBeUndefined();
    });
    await reopened(({ units }) => {
      expect(find(units, unitOf(1))).toBeUndefined();
      expect(find(units, unitOf(2))).toBeDefined();
      units.add(unitOf(1));
    });
    await reopened(({ units }) => expect(find(units, unitOf(1))).toBeDefined());
  });
  test("that are removed before they are written are not written", async () => {
    const { units } = openUnits(root());
    units.add(unitOf(1));
    units.remove(unitOf(1));
    await units.close();
    expect(packsIn(root())).toEqual([]);
  });
  test("with intrinsics that the machine does not have are not given", async () => {
    await keep(root(), [unitOf(1)]);
    await reopened(({ units }) => expect(find(units, unitOf(1))).toBeUndefined(), { known: () => false });
  });
  test("are neither given nor taken after closing", async () => {
    await keep(root(), [unitOf(1)]);
    const { units } = openUnits(root());
    const [candidate] = candidates(units, unitOf(1));
    await units.close();
    expect(candidates(units, unitOf(1))).toEqual([]);
    expect(candidate!.load()).toBeUndefined();
    units.add(unitOf(2));
    await units.close();
    await reopened(({ units: later }) => expect(later.size).toBe(1));
  });
});

describe("files", () => {
  test("are private", async () => {
    await keep(root(), [unitOf(1)]);
    for (const path of [root(), ...filesIn(root())]) expect(statSync(path).mode & 0o077, path).toBe(0);
    expect(statSync(join(root(), "key")).size).toBe(32);
  });
  test("of another version or variant are not seen, and stay", async () => {
    await keep(root(), [unitOf(1)]);
    await reopened(({ units }) => expect(units.size).toBe(0), { fingerprint: Buffer.alloc(32, 8) });
    await reopened(({ units }) => expect(units.size).toBe(1));
  });
  test("of another version put into this one's folder are removed", async () => {
    await keep(root(), [unitOf(1)], { fingerprint: Buffer.alloc(32, 8) });
    const [pack] = packsIn(root());
    await reopened(() => {});
    const moved = join(root(), Buffer.alloc(16, 7).toString("hex"), basename(pack!));
    renameSync(pack!, moved);
    await reopened(({ units }) => expect(units.size).toBe(0));
    expect(existsSync(moved)).toBe(false);
  });
  test("signed with another key are removed", async () => {
    await keep(root(), [unitOf(1)]);
    writeFileSync(join(root(), "key"), Buffer.alloc(32, 1));
    await reopened(({ units }) => expect(units.size).toBe(0));
    expect(packsIn(root())).toEqual([]);
  });
  test.each([
    ["that others can read", (path: string) => chmodSync(path, 0o644)],
    ["that is too short", (path: string) => truncateSync(path, 31)],
    [
      "behind a link",
      (path: string) => {
        renameSync(path, join(home(), "elsewhere"));
        symlinkSync(join(home(), "elsewhere"), path);
      },
    ],
  ])("signed with a key %s do not count: the key is made anew", async (_what, damage) => {
    await keep(root(), [unitOf(1)]);
    const key = join(root(), "key");
    damage(key);
    await keep(root(), [unitOf(2)]);
    expect(statSync(key).mode & 0o777).toBe(0o600);
    await reopened(({ units }) => {
      expect(find(units, unitOf(1))).toBeUndefined();
      expect(find(units, unitOf(2))).toBeDefined();
    });
  });

  test("that are cut anywhere are refused and removed", async () => {
    await keep(root(), [unitOf(1)]);
    const [pack] = packsIn(root());
    const whole = readFileSync(pack!);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(pack!, whole.subarray(0, length));
      const found = await reopened(({ units }) => find(units, unitOf(1)));
      expect(found, `${length} bytes`).toBeUndefined();
      expect(existsSync(pack!), `${length} bytes`).toBe(false);
    }
  });
  test("with any bit flipped give nothing and are removed", async () => {
    await keep(root(), [unitOf(1)]);
    const [pack] = packsIn(root());
    const whole = readFileSync(pack!);
    for (let bit = 0; bit < whole.length * 8; bit += 3) {
      const damaged = Buffer.from(whole);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(pack!, damaged);
      const found = await reopened(({ units }) => find(units, unitOf(1)));
      expect(found, `bit ${bit}`).toBeUndefined();
      expect(existsSync(pack!), `bit ${bit}`).toBe(false);
    }
  });
  test("that change while they are open give nothing either", async () => {
    await keep(root(), [unitOf(1), unitOf(2)]);
    await reopened(({ units }) => {
      const [pack] = packsIn(root());
      const [candidate] = candidates(units, unitOf(1));
      // Another body is read in between.
      expect(candidates(units, unitOf(2))).toHaveLength(1);
      const fd = openSync(pack!, "r+");
      writeSync(fd, Buffer.alloc(4), 0, 4, statSync(pack!).size - 300);
      writeSync(fd, Buffer.alloc(4), 0, 4, statSync(pack!).size - 800);
      closeSync(fd);
      expect(candidate!.load()).toBeUndefined();
      expect(find(units, unitOf(2))).toBeUndefined();
    });
    expect(packsIn(root())).toEqual([]);
  });
  test("that are links, folders or anything else are not read", async () => {
    await keep(root(), [unitOf(1)]);
    const [pack] = packsIn(root());
    const folder = dirname(pack!);
    copyFileSync(pack!, join(home(), "outside"));
    rmSync(pack!);
    symlinkSync(join(home(), "outside"), join(folder, "link.pack"));
    mkdirSync(join(folder, "folder.pack"));
    writeFileSync(join(folder, "other"), "x");
    await reopened(({ units, warnings }) => {
      expect(units.size).toBe(0);
      expect(warnings).toEqual([]);
    });
    expect(existsSync(join(home(), "outside"))).toBe(true);
  });
  test("that killed hosts left half written are removed later", async () => {
    await keep(root(), [unitOf(1)]);
    const folder = dirname(packsIn(root())[0]!);
    const [old, recent] = [join(folder, "a.pack.tmp"), join(folder, "b.pack.tmp")];
    for (const path of [old, recent]) writeFileSync(path, "part");
    utimesSync(old, 1, 1);
    await keep(root(), [unitOf(2)]);
    expect([existsSync(old), existsSync(recent)]).toEqual([false, true]);
  });
});

describe("hosts that use one home", () => {
  test("do not disturb each other, and leave what all of them found", async () => {
    const hosts = Array.from({ length: 4 }, () => openUnits(root()));
    for (let round = 0; round < 20; round++) for (const [index, { units }] of hosts.entries()) units.add(unitOf(round * 4 + index));
    await Promise.all(hosts.map(({ units }) => units.close()));
    expect(hosts.flatMap(({ warnings }) => warnings)).toEqual([]);
    await reopened(({ units }) => {
      expect(units.size).toBe(80);
      for (let program = 0; program < 80; program++) expect(find(units, unitOf(program))).toBeDefined();
    });
  });
  test("make the key once", async () => {
    const hosts = Array.from({ length: 3 }, () => openUnits(root()));
    for (const [index, { units }] of hosts.entries()) units.add(unitOf(index));
    await Promise.all(hosts.map(({ units }) => units.close()));
    await reopened(({ units }) => expect(units.size).toBe(3));
  });
  test("go on reading what another one has put together", async () => {
    for (let program = 0; program < 12; program++) await keep(root(), [unitOf(program)]);
    const first = openUnits(root());
    expect(packsIn(root()).length).toBeGreaterThan(10);
    await keep(root(), [unitOf(20)]);
    expect(packsIn(root()).length).toBeLessThan(4);
    for (let program = 0; program < 12; program++) expect(find(first.units, unitOf(program))).toBeDefined();
    await first.units.close();
    await reopened(({ units }) => expect(units.size).toBe(13));
  });
  test("keep out of the way of one that tidies up; a lock of one that was killed is broken", async () => {
    for (let program = 0; program < 12; program++) await keep(root(), [unitOf(program)]);
    const lock = join(root(), "lock");
    writeFileSync(lock, "");
    await keep(root(), [unitOf(20)]);
    expect(packsIn(root()).length).toBeGreaterThan(12);
    utimesSync(lock, 1, 1);
    await keep(root(), [unitOf(21)]);
    expect(packsIn(root()).length).toBeLessThan(4);
    expect(existsSync(lock)).toBe(false);
    await reopened(({ units }) => expect(units.size).toBe(14));
  });
});

describe("bounds", () => {
  const LIMIT = 2 << 20;
  const large = (program: number): ReturnType<typeof unitOf> => unitOf(program, 0x1000, 50_000);

  test("all files stay below the limit, and the oldest used go first", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    for (let batch = 0; batch < 10; batch++) {
      const added = Array.from({ length: 10 }, (_, index) => large(batch * 10 + index));
      await keep(root(), added, { limit: LIMIT });
      expect(bytesIn(root())).toBeLessThan(LIMIT);
      vi.setSystemTime(Date.now() + 5000);
      // The first ones are used all the time.
      const uses = ({ units }: ReturnType<typeof openUnits>): void => {
        for (let program = 0; program < 10; program++) expect(find(units, large(program)), `${program} after ${batch}`).toBeDefined();
      };
      await reopened(uses, { limit: LIMIT });
      vi.setSystemTime(Date.now() + 5000);
    }
    await reopened(({ units }) => {
      expect(find(units, large(99))).toBeDefined();
      expect(find(units, large(15))).toBeUndefined();
    });
  });
  test("translations of other versions go before this one's", async () => {
    const half = Array.from({ length: 20 }, (_, program) => large(program));
    await keep(root(), half, { limit: LIMIT });
    await keep(root(), half, { limit: LIMIT, fingerprint: Buffer.alloc(32, 8) });
    expect(bytesIn(root())).toBeLessThan(LIMIT);
    await reopened(({ units }) => expect(units.size).toBe(20), { fingerprint: Buffer.alloc(32, 8) });
    await reopened(({ units }) => expect(units.size).toBeLessThan(20));
  });
  test("only so much is stored in a time", async () => {
    const { units } = openUnits(root(), { perHour: 500_000 });
    for (let program = 0; program < 30; program++) units.add(large(program));
    await units.close();
    await reopened(({ units: later }) => {
      expect(later.size).toBe(9);
    });
  });
  test("a folder that cannot be written is told once, and what it has is used", async () => {
    await keep(root(), [unitOf(1)]);
    const opened = openUnits(root());
    // As when the disk is full or read-only, also for those who may write everywhere: there is no such folder any more.
    const folder = dirname(packsIn(root())[0]!);
    renameSync(folder, `${folder}.away`);
    for (let round = 0; round < 3; round++) {
      opened.units.add(unitOf(2 + round, 0x1000, 1 << 20));
      opened.units.add(unitOf(12 + round, 0x1000, (1 << 20) * 1.9));
      opened.units.add(unitOf(22 + round, 0x1000, (1 << 20) * 1.9));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(find(opened.units, unitOf(1))).toBeDefined();
    await opened.units.close();
    expect(opened.warnings).toHaveLength(1);
  });
  test("a home that cannot have translations is told once, and nothing else happens", async () => {
    writeFileSync(root(), "a file");
    const { units, warnings } = openUnits(root());
    units.add(unitOf(1));
    expect(candidates(units, unitOf(1))).toEqual([]);
    await units.close();
    expect(warnings).toHaveLength(1);
  });
});
