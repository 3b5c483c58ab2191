import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { serveRvfi } from "../rvfi/server.ts";
import { main } from "./main.ts";

async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const status = await main(args, {
    out: (data) => (out += String(data)),
    err: (data) => (err += String(data)),
    readFile: (path) => readFileSync(path),
  });
  return { status, out, err };
}
const DATA = new URL("../../test-data/", import.meta.url).pathname;

describe("rvfi", () => {
  test("serves until SIGINT, which stops it cleanly, also within a connection", async () => {
    const path = new URL("main.ts", import.meta.url).href;
    const script = `const { main } = await import(${JSON.stringify(path)}); process.exitCode = await main(["rvfi", "--port", "0", "--trapping"]);`;
    const child = spawn(process.execPath, ["--conditions=source", "--input-type=module", "-e", script]);
    let out = "";
    let err = "";
    child.stdout.on("data", (data) => (out += String(data)));
    child.stderr.on("data", (data) => (err += String(data)));
    const exited = once(child, "exit");
    while (!out.includes("\n")) await once(child.stdout, "data");
    const match = /^listening at 127\.0\.0\.1:(\d+) \(with relocation, trapping\)\n$/u.exec(out);
    expect(match, out + err).not.toBeNull();
    const { status, out: report } = await run("replay", "--mode", "v8", "--connect", `127.0.0.1:${match![1]}`, `${DATA}rvfi-v8.jsonl.gz`);
    expect(status, report).toBe(0);
    expect(report).toMatch(
      /^1708 sequences, 1668 replayed \(9816 instructions\), 40 in another encoding\n1632 match, 36 differ as listed/u,
    );
    const second = run("replay", "--connect", `127.0.0.1:${match![1]}`, `${DATA}rvfi-v9.jsonl.gz`);
    while ((err.match(/connected/gu) ?? []).length < 2) await once(child.stderr, "data");
    child.kill("SIGINT");
    expect((await exited)[0]).toBe(0);
    expect(out).toMatch(/stopped\n$/u);
    expect((await second).err).toMatch(/\[closed\]|ECONNRESET/u);
  });
  test("a port in use is named, with what to do", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { status, err } = await run("rvfi", "--port", String(port));
    other.close();
    expect(status).toBe(1);
    expect(err).toBe(`cvm-cpu rvfi: 127.0.0.1:${port} is in use: choose another --port, or 0 for any free one\n`);
  });
  test.each([
    [[], /--port is needed/u],
    [["--port", "65536"], /--port needs a whole number from 0 to 65535/u],
    [["--port", "http"], /--port needs a whole number/u],
    [["--port", "0", "file"], /no files are taken: file/u],
    [["--port", "0", "--relocation"], /--relocation/u],
  ])("%j is a wrong command line", async (args, message) => {
    const { status, err } = await run("rvfi", ...args);
    expect(status).toBe(2);
    expect(err).toMatch(message);
  });
});

describe("replay", () => {
  test("prints the sum, and with --verbose the known differences", async () => {
    const { status, out, err } = await run("replay", "--verbose", `${DATA}rvfi-v9r.jsonl.gz`);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("Sail/AMO-trap-cause.S #1: rdValue: theirs 5, ours 7, as listed: the recording reports the load's cause");
    expect(out.split("\n").slice(-3)).toEqual([
      "1708 sequences, 1668 replayed (9816 instructions), 40 in another encoding",
      "1636 match, 32 differ as listed (37 fields), 0 do not match (0 mismatches, 0 listed differences did not occur)",
      "",
    ]);
  });
  test("prints mismatches and listed differences that did not occur, and fails", async () => {
    const { status, out } = await run("replay", "--mode", "v9", `${DATA}rvfi-v8.jsonl.gz`);
    expect(status).toBe(1);
    expect(out).toMatch(/^\S+ #\d+ [a-z.]+ .*: (?:trap|address|pcAfter|rd|rdValue|mode): theirs [0-9a-f]+, ours [0-9a-f]+$/mu);
    expect(out).toMatch(/^1708 sequences, 1668 replayed/mu);
  });
  test.each([
    [[], /no file given/u],
    [["--mode", "v10", "x"], /--mode needs one of v9r, v9, v8, not "v10"/u],
    [["--engine", "qemu", "x"], /--engine needs one of interpreter, translator/u],
    [["--connect", "localhost", "x"], /--connect needs HOST:PORT, not "localhost"/u],
    [["--connect", "localhost:70000", "x"], /--connect needs HOST:PORT/u],
    [["--connect", "localhost:1", "--engine", "translator", "x"], /--engine has no meaning with --connect/u],
    [["a", "b"], /one file at a time/u],
  ])("%j is a wrong command line", async (args, message) => {
    const { status, err } = await run("replay", ...args);
    expect(status).toBe(2);
    expect(err).toMatch(message);
  });
  test("says that no server is there, and which file is bad", async () => {
    const server = await serveRvfi({ port: 0 });
    await server.close();
    const { status, err } = await run("replay", "--connect", `127.0.0.1:${server.port}`, `${DATA}rvfi-v9r.jsonl.gz`);
    expect(status).toBe(1);
    expect(err).toMatch(/^cvm-cpu replay: 127\.0\.0\.1:\d+: .*ECONNREFUSED.*: is an RVFI-DII server running there\?\n$/u);
    const bad = await run("replay", `${DATA}capability-arithmetic.tsv.gz`);
    expect(bad.status).toBe(1);
    expect(bad.err).toMatch(/capability-arithmetic\.tsv\.gz: \[bad-line\] line 1: no JSON/u);
    const missing = await run("replay", `${DATA}nothing.jsonl.gz`);
    expect(missing.status).toBe(1);
    expect(missing.err).toMatch(/ENOENT/u);
  });
});
