import { readFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { main } from "./main.ts";

const FILE = readFileSync(new URL("../../test-data/capability-arithmetic.tsv.gz", import.meta.url));
const LINES = gunzipSync(FILE).toString("latin1").split("\n").slice(0, 100);

/** Runs the command on a file with these contents. */
async function check(contents: Uint8Array, ...options: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const text = (data: string | Uint8Array): string => (typeof data === "string" ? data : new TextDecoder().decode(data));
  const status = await main(["check-arithmetic", ...options, "file.tsv.gz"], {
    out: (data) => (out += text(data)),
    err: (data) => (err += text(data)),
    readFile: () => contents,
  });
  return { status, out, err };
}
const packed = (lines: readonly string[]): Uint8Array => gzipSync(`${lines.join("\n")}\n`);

describe("check-arithmetic", () => {
  test("all recorded results match", async () => {
    const { status, out, err } = await check(FILE);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toMatch(/^60000 cases \(.*\), 60000 match, 0 do not\n$/u);
  });
  test("a changed answer is printed with its line, theirs and ours, and the status is 1", async () => {
    const lines = LINES.with(
      6,
      LINES[6]!.replace(/.$/u, (last) => (last === "0" ? "1" : "0")),
    );
    const { status, out } = await check(packed(lines));
    const [input, theirs] = lines[6]!.split("\t");
    expect(status).toBe(1);
    expect(out).toContain(`line 7: ${input}\n  theirs: ${theirs}\n  ours:   ${LINES[6]!.split("\t")[1]}\n`);
    expect(out).toMatch(/100 cases \(.*\), 99 match, 1 do not\n$/u);
  });
  test("of many mismatches 20 are printed, or with --all each", async () => {
    const file = packed(LINES.map((line) => `${line}?`));
    const few = await check(file);
    expect(few.out.match(/^line /gmu)?.length).toBe(20);
    expect(few.out).toContain("80 more mismatches: --all prints them\n");
    const all = await check(file, "--all");
    expect(all.out.match(/^line /gmu)?.length).toBe(100);
    expect([few.status, all.status]).toEqual([1, 1]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["no gzip", new TextEncoder().encode("dec 0 0 0"), /\[not-gzip\]/u],
    ["cut off", FILE.subarray(0, 10_000), /\[not-gzip\]/u],
    ["nothing in it", gzipSync("\n"), /\[empty\] the file has no lines/u],
    ["too large", gzipSync(Buffer.alloc((256 << 20) + 1, 10)), /\[too-large\]/u],
    ["no tab", packed([LINES[0]!, "dec 0 0 0"]), /\[bad-line\] line 2: expected call and answer/u],
    ["two tabs", packed([`${LINES[0]!}\t`]), /line 1: expected .* found 2 tabs/u],
    ["an unknown call", packed([...LINES, "add 1 2\tadd 3"]), /line 101: unknown call "add"/u],
    ["an operand too few", packed(["dec 0 0\tdec"]), /line 1: dec needs hi address tag, not 2 operands/u],
    ["no number", packed(["crr 12z\tcrr"]), /line 1: length is no hexadecimal number of 64 bits: "12z"/u],
    ["a number too large", packed(["crr 10000000000000000\tcrr"]), /line 1: length is no hexadecimal number/u],
    ["a tag of 2", packed(["dec 0 0 2\tdec"]), /line 1: tag is no hexadecimal number of 1 bits/u],
  ])("a file with %s is refused by name and line", async (_, contents, message) => {
    const { status, out, err } = await check(contents);
    expect({ status, out }).toEqual({ status: 1, out: "" });
    expect(err).toMatch(/^cvm-cpu check-arithmetic: file\.tsv\.gz: \[/u);
    expect(err).toMatch(message);
  });
  test("a wrong command line has status 2", async () => {
    expect((await check(FILE, "other.tsv.gz")).status).toBe(2);
    expect((await check(FILE, "--every")).status).toBe(2);
    expect(await main(["check-arithmetic"], { out: () => {}, err: () => {}, readFile: () => FILE })).toBe(2);
  });
});
