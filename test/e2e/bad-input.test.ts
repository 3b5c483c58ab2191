import { beforeAll, expect, test } from "vitest";
import { makeScratchImage } from "../../packages/cli/src/images/scratch.ts";
import { cvm, cvmOk, ensureImage, TEST_HOME } from "../support/cvm.ts";
import { staticElf, wrapElf } from "../support/elf.ts";

const EXIT_0 = "li a0, 0\nli a7, 94\necall\n";
const CODE = staticElf(EXIT_0).subarray(120);

/** Two segments that cover the same pages. */
function overlapping(): Uint8Array {
  const one = staticElf(EXIT_0);
  const bytes = new Uint8Array(one.length + 56);
  bytes.set(one.subarray(0, 120));
  bytes.set(one.subarray(64, 120), 120);
  bytes.set(one.subarray(120), 176);
  new DataView(bytes.buffer).setUint16(56, 2, true);
  return bytes;
}

const FILES: Readonly<Record<string, Uint8Array>> = {
  good: staticElf(EXIT_0),
  truncated: staticElf(EXIT_0).subarray(0, 80),
  header: staticElf(EXIT_0).subarray(0, 20),
  x86: wrapElf(CODE, { machine: 62 }),
  overlap: overlapping(),
  outside: wrapElf(CODE, { address: 0x7000_0000_0000 }),
  huge: wrapElf(CODE, { memoryBytes: 0x4000_0000 }),
  text: new Uint8Array(Buffer.from("just text\n")),
};

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "sh");
  await makeScratchImage(
    "bad",
    Object.entries(FILES).map(([path, data]) => ({ path, data, mode: 0o755 })),
    { Env: [], WorkingDir: "/" },
  );
});

test("a good program of the same making runs", async () => {
  expect(await cvm(["run", "--rm", "bad", "/good"])).toMatchObject({ status: 0 });
});

test.each(["truncated", "header", "x86", "overlap", "outside", "huge", "text"])("%s is refused with a clear error", async (name) => {
  const result = await cvm(["run", "--rm", "bad", `/${name}`]);
  expect(result.status).toBe(126);
  expect(result.stderr).toMatch(/^cvm: \[not_executable\] "\/\w+" cannot be run: .{10,}/u);
});

test("an image without the program: 127", async () => {
  const result = await cvm(["run", "--rm", "bad", "sh"]);
  expect(result.status).toBe(127);
});

test("out of memory ends the program, not the host", async () => {
  const result = await cvm(["run", "--rm", "-m", "16m", "busybox", "sh", "-c", "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"]);
  expect(result.status).not.toBe(0);
  expect(result.stderr.toLowerCase()).toContain("memory");
  expect(await cvm(["run", "--rm", "bad", "/good"])).toMatchObject({ status: 0 });
});

test("nothing is left behind", async () => {
  const states = JSON.parse(await cvmOk(["ps", "-a", "--format", "json"])) as { config: { image: string } }[];
  expect(states.filter((state) => state.config.image.startsWith("bad"))).toEqual([]);
});
