import { afterAll, beforeAll, expect, test } from "vitest";
import { cvm, cvmOk, ensureImage, TEST_HOME } from "../support/cvm.ts";
import { ATTEMPTS, HOT_ATTEMPTS, makeHostileImage } from "./hostile.ts";

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "sh");
  await makeHostileImage("hostile");
  await cvm(["rm", "-f", "bystander"]);
  await cvmOk(["run", "-d", "--name", "bystander", "busybox", "sh", "-c", "while true; do sleep 1; done"]);
});
afterAll(async () => {
  await cvm(["rm", "-f", "bystander"]);
});

test.each([...ATTEMPTS, ...HOT_ATTEMPTS])("$title: stopped, and nobody else notices", async (attempt) => {
  const result = await cvm(["run", "--rm", "hostile", `/hostile/${attempt.name}`]);
  expect(attempt.held(result), `exit ${result.status}, said: ${result.stderr}${result.stdout}`).toBe(true);
  expect(await cvmOk(["exec", "bystander", "echo", "unharmed"])).toBe("unharmed");
});
