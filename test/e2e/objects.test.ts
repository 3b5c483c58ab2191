/** Objects that cVMs share by name, as programs meet them: files under /cp, the C functions, the module for Python. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackImage } from "../../packages/cli/src/images/layer.ts";
import { requireImage } from "../../packages/cli/src/images/store.ts";
import { CpRight } from "../../packages/monitor/src/abi.ts";
import { whyNot } from "../guests/programs.ts";
import { ensureImage, TEST_HOME } from "../support/cvm.ts";
import { InProcessHost } from "../support/in-process.ts";

const reason = whyNot();
if (reason !== null) console.warn(`C PROGRAMS OF SHARED OBJECTS SKIPPED: ${reason}`);

const BOTH = CpRight.Read | CpRight.Write;
const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const folder = mkdtempSync(join(tmpdir(), "cvm-objects-"));
let busybox: readonly string[];
let python: readonly string[];

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "/bin/sh");
  await ensureImage("python", ["python3"]);
  busybox = await unpackImage(requireImage("busybox"));
  python = await unpackImage(requireImage("python"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A host with objects for cVMs called "one" and "two". */
function host(): InProcessHost {
  const made = new InProcessHost();
  const { objects } = made.monitor;
  objects.declare({ kind: "file", name: "board", size: 1 << 20, content: text("hello"), grants: [{ cvm: "*", rights: BOTH }] });
  objects.declare({
    kind: "file",
    name: "notice",
    size: 16,
    content: text("read only"),
    grants: [
      { cvm: "one", rights: CpRight.Read },
      { cvm: "two", rights: CpRight.Read },
    ],
  });
  objects.declare({ kind: "file", name: "secret", size: 16, content: text("not yours"), grants: [{ cvm: "other", rights: BOTH }] });
  return made;
}

describe.each([
  ["one process", false],
  ["behind a port", true],
] as const)("files under /cp, library OS: %s", (_, ported) => {
  const shell = async (script: string, on: InProcessHost, name = "one") =>
    on.run({ name, layers: busybox, argv: ["/bin/sh", "-c", script], ported });

  test("a shell lists, reads and writes them, and no more than it may", async () => {
    const on = host();
    const ended = await shell(
      `ls /cp/file; head -c 5 /cp/file/board; echo; printf JE | dd of=/cp/file/board bs=1 conv=notrunc 2>/dev/null; head -c 5 /cp/file/board; echo
       head -c 9 /cp/file/notice; echo; (echo x > /cp/file/notice) 2>/dev/null || echo refused; cat /cp/file/secret 2>/dev/null || echo hidden
       dd if=/dev/zero of=/cp/file/notice bs=1 count=1 2>/dev/null || echo refused; rm -f /cp/file/board 2>/dev/null || echo stays; wc -c < /cp/file/board`,
      on,
    );
    expect(ended.output.split("\n").map((line) => line.trim())).toEqual([
      "board",
      "notice",
      "hello",
      "JEllo",
      "read only",
      "refused",
      "hidden",
      "refused",
      "stays",
      "1048576",
      "",
    ]);
    const other = await shell("head -c 5 /cp/file/board", on, "two");
    expect(other.output).toBe("JEllo");
    on.stop();
  });

  test("a file that was revoked while it was open", async () => {
    const on = host();
    const running = await on.start({
      name: "one",
      layers: busybox,
      argv: [
        "/bin/sh",
        "-c",
        "exec 3< /cp/file/board; echo open; while head -c 1 <&3 > /dev/null 2>&1; do :; done; echo gone; ls /cp/file > /dev/null 2>&1; sleep 0.1; ls /cp/file",
      ],
      ported,
    });
    await expect.poll(running.output, { timeout: 20_000 }).toContain("open");
    on.monitor.objects.revokeFrom(on.monitor.objects.get("file", "board")!, "one");
    const { output, code } = await running.ended;
    expect(output.split("\n")).toEqual(["open", "gone", "notice", ""]);
    expect(code).toBe(0);
    on.stop();
  });
});

describe.skipIf(reason !== null)("C functions", () => {
  test("copies, rights, swaps, notification", async () => {
    const include = join(import.meta.dirname, "..", "..", "packages", "libos", "include");
    const source = join(import.meta.dirname, "programs", "cp-file.c");
    const built = spawnSync(
      "riscv64-linux-gnu-gcc",
      ["-std=gnu17", "-Wall", "-Wextra", "-O2", "-static", "-I", include, "-o", join(folder, "cp-file"), source],
      { encoding: "utf8" },
    );
    expect(built.stderr).toBe("");
    const on = host();
    const { output, code } = await on.run({ name: "one", layers: busybox, argv: ["/test/cp-file"], volumes: { "/test": folder } });
    expect(output.split("\n").filter((line) => !line.endsWith(": ok"))).toEqual(["all ok", ""]);
    expect(code).toBe(0);
    on.stop();
  });
});

describe("module for Python", () => {
  test("one waits, the other writes and notifies", async () => {
    writeFileSync(
      join(folder, "reader.py"),
      `import sys; sys.path.append("/cp/lib")
import cvm
with cvm.File("board") as board:
    print("waiting", flush=True)
    print(board.wait(0, 60), board.read(0, 6), len(board), flush=True)
    try: board.write(0, b"x")
    except OSError as error: print(error.errno)
`,
    );
    writeFileSync(
      join(folder, "writer.py"),
      `import sys; sys.path.append("/cp/lib")
import cvm
with cvm.File("board", "r+") as board:
    print(board.write(0, b"python"), board.swap(8, 0, 7), board.swap(8, 7, 8), board.notify())
    try: cvm.File("secret")
    except FileNotFoundError: print("hidden")
`,
    );
    const on = host();
    const volumes = { "/test": folder };
    const reader = await on.start({ name: "one", layers: python, argv: ["/usr/bin/python3", "/test/reader.py"], volumes });
    await expect.poll(reader.output, { timeout: 60_000 }).toContain("waiting");
    const writer = await on.run({ name: "two", layers: python, argv: ["/usr/bin/python3", "/test/writer.py"], volumes });
    expect(writer.output).toBe("6 0 7 1\nhidden\n");
    expect((await reader.ended).output).toBe("waiting\n1 b'python' 1048576\n13\n");
    on.stop();
  });
});
