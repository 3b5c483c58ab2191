import { expect, test } from "vitest";
import { parseSyncs } from "./strace.ts";

test("calls in one line and in two, of several threads", () => {
  const text = `strace: Process 7 attached with 3 threads
[pid     8] 100.000000 fdatasync(45</v/a.aof>) = 0 <0.000500>
[pid     9] 100.001000 fsync(46</v/b-journal> <unfinished ...>
[pid     8] 100.002000 fsync(47</v>) = -1 EIO (Input/output error) <0.000100>
[pid     9] 100.004000 <... fsync resumed>) = 0 <0.003000>
[pid     9] 100.005000 fsync(46</v/b-journal> <unfinished ...>
strace: Process 7 detached
`;
  const milliseconds = (value: number): unknown => expect.closeTo(value, 6);
  expect(parseSyncs(text)).toEqual([
    { call: "fdatasync", path: "/v/a.aof", begin: milliseconds(100_000), end: milliseconds(100_000.5), result: 0 },
    { call: "fsync", path: "/v", begin: milliseconds(100_002), end: milliseconds(100_002.1), result: -1 },
    { call: "fsync", path: "/v/b-journal", begin: milliseconds(100_001), end: milliseconds(100_004), result: 0 },
  ]);
});
