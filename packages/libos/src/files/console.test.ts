import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PENDING } from "@cvm/monitor/abi";
import { Poll } from "../kernel/types.ts";
import { createConsole, type Console } from "./console.ts";
import { FakeKernel, outputOf } from "./fake-kernel.test.support.ts";

let box: FakeKernel;
let console: Console;
function attach(tty: boolean, stdin = true): void {
  console = createConsole(box.kernel, 0, tty, stdin);
  console.claim(box.process.sid, box.process.pgid);
  for (const [fd, file] of [console.stdin, console.stdout, console.stderr].entries()) box.process.fds.set(fd, file, false);
}
beforeEach(() => {
  box = new FakeKernel();
});
afterEach(() => box.dispose());
const write = (fd: number, text: string): number => box.call("write", fd, Buffer.from(text), text.length);
const read = (): string => Buffer.from(box.bytes("read", 0, 100, 100)).toString();
const shown = (): string => box.output.map((entry) => entry.text).join("");
const type = (text: string): void => console.input(Buffer.from(text));

describe("pipes", () => {
  it("passes output on and waits for input until its end", () => {
    attach(false);
    expect(write(1, "out")).toBe(3);
    expect(write(2, "err")).toBe(3);
    expect(box.output).toEqual([
      { console: 0, fd: 1, text: "out" },
      { console: 0, fd: 2, text: "err" },
    ]);
    expect(box.raw("read", [0, 10, 10])).toBe(PENDING);
    type("in");
    expect(Buffer.from(outputOf(box.completed[0]!)).toString()).toBe("in");
    console.input(new Uint8Array(0));
    expect(box.call("read", 0, 10, 10)).toBe(0);
    expect(box.fstat(1).mode & 0o170000).toBe(0o010000);
    expect(box.call("write", 0, Buffer.from("x"), 1)).toBe(-9);
    const again = box.open("/dev/stdout", 1);
    expect(write(again, "same")).toBe(4);
    expect(box.output.at(-1)).toEqual({ console: 0, fd: 1, text: "same" });
  });
  it("without input it reads the end of the file", () => {
    attach(false, false);
    expect(box.call("read", 0, 10, 10)).toBe(0);
    expect(box.process.fds.get(0)!.poll()).toBe(Poll.HUP);
  });
});

describe("terminal", () => {
  beforeEach(() => attach(true));
  const flags = (local: number, input = 0x4500): Uint8Array => {
    const bytes = new Uint8Array(36);
    new DataView(bytes.buffer).setUint32(0, input, true);
    new DataView(bytes.buffer).setUint32(4, 5, true);
    new DataView(bytes.buffer).setUint32(12, local, true);
    bytes.set([3, 28, 127, 21, 4, 0, 1], 17);
    return bytes;
  };
  it("edits lines, echoes, ends lines with CR LF", () => {
    type("helx\x7flo");
    expect(box.process.fds.get(0)!.poll() & Poll.IN).toBe(0);
    type(" w\x15hi there\x17you\r");
    expect(read()).toBe("hi you\n");
    expect(shown()).toContain("helx\b \blo");
    expect(shown().endsWith("you\r\n")).toBe(true);
    type("part\x04");
    expect(read()).toBe("part");
    type("\x04");
    expect(box.call("read", 0, 10, 10)).toBe(0);
    expect(write(1, "a\nb")).toBe(3);
    expect(box.output.at(-1)!.text).toBe("a\r\nb");
    type("long line\n");
    expect(Buffer.from(box.bytes("read", 0, 4, 4)).toString()).toBe("long");
    expect(read()).toBe(" line\n");
  });
  it("sends signals to the foreground group", () => {
    const child = box.newProcess();
    child.process.sid = box.process.sid;
    type("junk\x03");
    expect(box.signals).toEqual([{ pid: 1, signal: 2 }]);
    expect(shown()).toBe("junk^C");
    box.memory.set(0x100, Uint8Array.of(child.process.pgid, 0, 0, 0));
    expect(box.call("ioctl", 0, 0x5410, 0x100)).toBe(0);
    type("\x1c\x1a");
    expect(box.signals.slice(1)).toEqual([
      { pid: 2, signal: 3 },
      { pid: 2, signal: 20 },
    ]);
    console.resize(100, 40);
    expect(box.signals.at(-1)).toEqual({ pid: 2, signal: 28 });
    // From the background now: SIGTTOU, and the call is made again later.
    expect(box.call("ioctl", 0, 0x5410, 0x100)).toBe(-4);
    expect(box.call("read", 0, 10, 10)).toBe(-4);
    box.memory.set(0x200, new Uint8Array(8));
    expect(box.raw("ioctl", [0, 0x5413, 0x200])).toMatchObject({ ops: [{ bytes: Uint8Array.of(40, 0, 100, 0, 0, 0, 0, 0) }] });
  });
  it("raw mode gives each byte and no echo", () => {
    box.memory.set(0x100, flags(0, 0));
    expect(box.call("ioctl", 0, 0x5402, 0x100)).toBe(0);
    type("\x03a");
    expect(read()).toBe("\x03a");
    expect(shown()).toBe("");
    expect(box.signals).toEqual([]);
    box.memory.set(0x200, new Uint8Array(36));
    const reply = box.raw("ioctl", [0, 0x5401, 0x200]) as unknown as { ops: { bytes: Uint8Array }[] };
    expect(reply.ops[0]!.bytes).toEqual(flags(0, 0));
  });
  it("has a name that leads back to it", () => {
    const name = Buffer.from(box.bytes("readlinkat", -100, "/proc/self/fd/0", 100, 100)).toString();
    expect(name).toBe("/dev/pts/0");
    expect(box.stat(name)).toMatchObject({ ino: box.fstat(0).ino, dev: box.fstat(0).dev, rdev: 136 * 256 });
    expect(box.list("/dev/pts")).toEqual(["0", "ptmx"]);
    expect(write(box.open("/dev/tty", 2), "tty")).toBe(3);
    expect(box.output.at(-1)!.text).toBe("tty");
  });
});

describe("pseudo-terminals", () => {
  it("joins a master and a slave", () => {
    const master = box.open("/dev/ptmx", 0o402);
    box.memory.set(0x100, new Uint8Array(4));
    expect(box.raw("ioctl", [master, 0x80045430, 0x100])).toMatchObject({ ops: [{ bytes: new Uint8Array(4) }] });
    expect(box.open("/dev/pts/0", 0o402)).toBe(-5);
    expect(box.call("ioctl", master, 0x40045431, 0x100)).toBe(0);
    const slave = box.open("/dev/pts/0", 0o402);
    expect(write(slave, "out\n")).toBe(4);
    expect(Buffer.from(box.bytes("read", master, 100, 100)).toString()).toBe("out\r\n");
    expect(write(master, "line\r")).toBe(5);
    expect(Buffer.from(box.bytes("read", slave, 100, 100)).toString()).toBe("line\n");
    expect(Buffer.from(box.bytes("read", master, 100, 100)).toString()).toBe("line\r\n");
    box.call("close", slave);
    expect(box.call("read", master, 10, 10)).toBe(-5);
    box.call("close", master);
    expect(box.list("/dev/pts")).toEqual(["ptmx"]);
  });
});
