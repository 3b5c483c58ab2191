import { expect, test } from "vitest";
import { parseSettings, UsageError } from "./arguments.ts";
import { PROGRAMS, PROGRAMS_SMALL, PYTHON_MODULES, PYTHON_SMALL, REDIS_SMALL } from "./modules.ts";

test("everything, unless suites or modules are named", () => {
  expect(parseSettings([])!.modules).toEqual({ python: PYTHON_MODULES, redis: [], programs: PROGRAMS, crash: [] });
  expect(parseSettings(["--small"])!.modules).toEqual({ python: PYTHON_SMALL, redis: REDIS_SMALL, programs: PROGRAMS_SMALL, crash: [] });
  expect(parseSettings(["redis"])!.modules).toEqual({ redis: [] });
  expect(parseSettings(["--", "test_json", "test_asyncio.test_events"])!.modules).toEqual({
    python: ["test_json", "test_asyncio.test_events"],
  });
  expect(parseSettings(["redis", "test_json", "unit/type/list"])!.modules).toEqual({ python: ["test_json"], redis: ["unit/type/list"] });
  expect(parseSettings(["nginx", "crash", "--kills", "300", "--seed", "7"])).toMatchObject({
    modules: { programs: ["nginx"], crash: [] },
    kills: 300,
    seed: 7,
  });
  expect(parseSettings(["crash"])!.kills).toBeGreaterThan(parseSettings(["crash", "--small"])!.kills);
});

test.each([
  ["nothing"],
  ["--format", "xml"],
  ["--timeout", "soon"],
  ["--memory", "much"],
  ["--kills", "0"],
  ["--seed", "x"],
  ["--no-such-option"],
])("%s is a usage error", (...args) => {
  expect(() => parseSettings(args)).toThrow(UsageError);
});
