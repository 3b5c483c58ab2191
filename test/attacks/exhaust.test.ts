import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cvm, cvmOk, ensureImage, TEST_HOME } from "../support/cvm.ts";
import { EXHAUSTING, makeExhaustImage } from "./exhaust.ts";

const NAMES = ["exhaust-bystander", "exhausting"];

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "sh");
  await makeExhaustImage("exhaust");
  await cvm(["rm", "-f", ...NAMES]);
  // It counts in its own memory, which nobody may disturb.
  await cvmOk(["run", "-d", "--name", NAMES[0]!, "busybox", "sh", "-c", "i=0; while sleep 0.1; do i=$((i+1)); echo $i >/count; done"]);
});
afterAll(async () => {
  await cvm(["rm", "-f", ...NAMES]);
});

async function othersGoOn(): Promise<void> {
  const counted = async (): Promise<number> => Number(await cvmOk(["exec", NAMES[0]!, "cat", "/count"]));
  const before = await counted();
  await expect.poll(counted, { timeout: 10_000 }).toBeGreaterThan(before);
}

test.each(EXHAUSTING)("$title: an error or a kill, and others go on", { timeout: 100_000 }, async ({ name, ends }) => {
  if (ends.length > 0) {
    const { status, stderr, stdout } = await cvm(["run", "--rm", "-m", "64m", "exhaust", `/exhaust/${name}`], { timeoutMs: 90_000 });
    expect(ends, `exit ${status}, said: ${stderr.slice(0, 2000)}${stdout}`).toContain(status);
  } else {
    await cvmOk(["run", "-d", "--name", NAMES[1]!, "-m", "64m", "exhaust", `/exhaust/${name}`]);
    await sleep(3000);
    await othersGoOn();
    await cvmOk(["rm", "-f", NAMES[1]!]);
  }
  await othersGoOn();
  expect(await cvmOk(["run", "--rm", "busybox", "echo", "room for new ones"])).toBe("room for new ones");
});
