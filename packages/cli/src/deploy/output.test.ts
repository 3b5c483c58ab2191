import { expect, test } from "vitest";
import type { LogLine } from "../host/records.ts";
import { wholeLines } from "./logs.ts";
import { PrefixedOutput } from "./output.ts";

function capture(options: { colour: boolean; prefix: boolean }): { output: PrefixedOutput; text: () => string } {
  let text = "";
  const output = new PrefixedOutput(options, (more) => (text += more));
  return { output, text: () => text };
}

test("whole lines, each with its name, in columns of one width", () => {
  const { output, text } = capture({ colour: false, prefix: true });
  output.add("web-1");
  output.add("database-1");
  output.bytes("web-1", 1, Buffer.from("one\ntw"));
  output.bytes("database-1", 1, Buffer.from("up\r\n"));
  output.bytes("web-1", 2, Buffer.from("error\n"));
  const euro = Buffer.from("o €\n");
  output.bytes("web-1", 1, euro.subarray(0, 3));
  output.bytes("web-1", 1, euro.subarray(3));
  output.bytes("web-1", 1, Buffer.from("no end"));
  output.flush("database-1");
  output.flush("web-1");
  output.flush("web-1");
  expect(text().split("\n")).toEqual([
    "web-1       | one",
    "database-1  | up",
    "web-1       | error",
    "web-1       | two €",
    "web-1       | no end",
    "",
  ]);
});

test("names have colours of their own; without prefix lines are as they were", () => {
  const coloured = capture({ colour: true, prefix: true });
  coloured.output.line("a", "x");
  coloured.output.line("b", "y");
  expect(coloured.text()).toBe("\x1b[36ma  | \x1b[0mx\n\x1b[33mb  | \x1b[0my\n");
  const bare = capture({ colour: true, prefix: false });
  bare.output.line("a", "x");
  expect(bare.text()).toBe("x\n");
});

test("records become lines; what has no end waits, unless nothing more comes", () => {
  const record = (log: string, stream: LogLine["stream"] = "stdout"): LogLine => ({ log, stream, time: `t${log.length}` });
  const records = [record("a\n"), record("b"), record("err\n", "stderr"), record("c\n"), record("open")];
  const read = (from: number, complete: boolean, count = records.length): [string[], number] => {
    const { lines, next } = wholeLines(records.slice(0, count), from, complete);
    return [lines.map((line) => line.text), next];
  };
  expect(read(0, false)).toEqual([["a", "err", "bc"], 4]);
  expect(read(4, true)).toEqual([["open"], 5]);
  // A line of one stream that is open holds back what comes behind it, so that nothing is shown twice.
  expect(read(0, false, 3)).toEqual([["a"], 1]);
  expect(read(1, false)).toEqual([["err", "bc"], 4]);
  expect(read(0, true, 3)).toEqual([["a", "err", "b"], 3]);
});
