import { describe, expect, test } from "vitest";
import type { CvmConfig, CvmState, RestartPolicy } from "./protocol.ts";
import { restartDelay, restartsAfterEnd, restartsWithHost } from "./restart.ts";

const state = (name: RestartPolicy["name"] | undefined, changes: Partial<CvmState> & { most?: number } = {}): CvmState => {
  const { most = 0, ...rest } = changes;
  const config = { name: "one", ...(name === undefined ? {} : { restart: { name, most } }) } as CvmConfig;
  return { id: "1".repeat(64), config, status: "exited", created: "", exitCode: 1, ...rest };
};

describe("after an end", () => {
  test.each([
    [undefined, {}, false],
    ["no", {}, false],
    ["always", {}, true],
    ["always", { exitCode: 0 }, true],
    ["always", { stopped: true }, false],
    ["unless-stopped", { exitCode: 0 }, true],
    ["unless-stopped", { stopped: true }, false],
    ["on-failure", {}, true],
    ["on-failure", { exitCode: 0 }, false],
    ["on-failure", { stopped: true }, false],
    ["on-failure", { most: 2, restarts: 1 }, true],
    ["on-failure", { most: 2, restarts: 2 }, false],
    ["on-failure", { restarts: 2000 }, true],
  ] as const)("%s %o: %s", (name, changes, expected) => {
    expect(restartsAfterEnd(state(name, changes))).toBe(expected);
  });
});

describe("with a new host", () => {
  test.each([
    [undefined, {}, true, false],
    ["no", {}, true, false],
    ["always", { status: "created" }, false, false],
    ["always", { stopped: true }, false, true],
    ["unless-stopped", { stopped: true }, false, false],
    ["unless-stopped", {}, false, true],
    ["on-failure", {}, true, true],
    ["on-failure", {}, false, false],
    ["on-failure", { most: 1, restarts: 1 }, true, false],
  ] as const)("%s %o, ran: %s: %s", (name, changes, ran, expected) => {
    expect(restartsWithHost(state(name, changes), ran)).toBe(expected);
  });
});

test("delays double up to a minute", () => {
  expect([0, 1, 2, 9, 10, 1000].map(restartDelay)).toEqual([100, 200, 400, 51_200, 60_000, 60_000]);
});
