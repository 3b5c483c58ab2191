import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DIVERGENCES } from "../recordings/divergences.ts";
import { readLines } from "../recordings/lines.ts";
import { replayRemote } from "../recordings/remote.ts";
import { REPLAY_MODES, optionsOf, type ReplayMode } from "../recordings/replay.ts";
import { DiiClient } from "./client.ts";
import { serveRvfi, type RvfiServer, type ServerOptions } from "./server.ts";
import { Cmd, decodeV1, encodeCommand, V1_BYTES } from "./wire.ts";

const HOST = "127.0.0.1";
/** addi x5, x5, 1 and sd x5, 0(x6). */
const ADD = 0x00128293;
const STORE = 0x00533023;

let server: RvfiServer;
let log: string[];

async function start(options: Partial<ServerOptions> = {}): Promise<void> {
  const lines: string[] = [];
  log = lines;
  server = await serveRvfi({ port: 0, log: (line) => lines.push(line), ...options });
}
afterEach(() => server.close());

const linesOf = (mode: ReplayMode): string[] => readLines(readFileSync(new URL(`../../test-data/rvfi-${mode}.jsonl.gz`, import.meta.url)));

describe("recorded sequences over TCP", () => {
  test.each(REPLAY_MODES)("%s: all but the listed differences match, in version 2", async (mode) => {
    await start({ target: optionsOf(mode) });
    const client = await DiiClient.connect(HOST, server.port);
    expect(client.version).toBe(2);
    const result = await replayRemote(linesOf(mode), client, { mode, divergences: DIVERGENCES });
    client.close();
    expect(result.mismatches).toEqual([]);
    expect(result.missing).toEqual([]);
    expect(result).toMatchObject({ sequences: 1708, skipped: 40, instructions: 9816 });
    expect(result.matching + result.diverging).toBe(1668);
  });
  test("version 1", async () => {
    await start();
    const client = await DiiClient.connect(HOST, server.port, { version: 1 });
    expect(client.version).toBe(1);
    const result = await replayRemote(linesOf("v9r").slice(0, 300), client, { mode: "v9r", divergences: DIVERGENCES });
    client.close();
    expect(result.mismatches).toEqual([]);
    expect(result.matching + result.diverging).toBe(300);
  });
});

/** Sends these bytes, then `end`s, and gives all that comes back; a connection that is reset counts as ended. */
async function talk(bytes: Uint8Array, end = true): Promise<Uint8Array> {
  const socket = connect({ host: HOST, port: server.port });
  const parts: Uint8Array[] = [];
  socket.on("data", (part) => parts.push(part));
  socket.on("error", () => undefined);
  await once(socket, "connect");
  if (end) socket.end(bytes);
  else socket.write(bytes);
  if (!socket.destroyed) await once(socket, "close");
  return new Uint8Array(Buffer.concat(parts));
}
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 500) throw new Error(`this did not happen; the log: ${log.join("\n")}`);
    await setTimeout(10);
  }
}
const commands = (...list: readonly (readonly [cmd: number, insn: number])[]): Uint8Array =>
  Uint8Array.from(list.flatMap(([cmd, insn]) => [...encodeCommand({ cmd, insn, time: 0 })]));
/** A well-behaved client finds a machine as after power-on. */
async function works(): Promise<void> {
  const client = await DiiClient.connect(HOST, server.port);
  await client.reset();
  const [first, second] = await client.execute([ADD, ADD]);
  expect(first).toMatchObject({ order: 1, pcBefore: 0x8000_0000n, pcAfter: 0x8000_0004n, rd: 5, rdValue: 1n, rs1: 5, mode: 3, halt: 0 });
  expect(second).toMatchObject({ order: 2, pcBefore: 0x8000_0004n, rdValue: 2n, rs1Value: 1n });
  client.close();
}

describe("connections", () => {
  beforeEach(() => start());

  test("one after another find a machine as after power-on", async () => {
    for (let count = 0; count < 3; count++) await works();
    await until(() => log.filter((line) => line.includes("ended")).length === 3);
    expect(log.filter((line) => line.includes("connected")).length).toBe(3);
  });
  test("at once have a machine each", async () => {
    const [a, b] = [await DiiClient.connect(HOST, server.port), await DiiClient.connect(HOST, server.port)];
    await a.execute([ADD, ADD, ADD]);
    const [packet] = await b.execute([ADD]);
    expect(packet).toMatchObject({ rdValue: 1n, order: 1 });
    const [next] = await a.execute([ADD]);
    expect(next).toMatchObject({ rdValue: 4n, order: 4 });
    a.close();
    b.close();
  });
  test("beyond four are refused, and accepted when one has ended", async () => {
    const open = await Promise.all(Array.from({ length: 4 }, () => DiiClient.connect(HOST, server.port)));
    await expect(DiiClient.connect(HOST, server.port)).rejects.toThrow(/^\[closed\]/u);
    expect(log.some((line) => line.includes("refused: 4 connections are open"))).toBe(true);
    open[0]!.close();
    await until(() => log.some((line) => line.includes("ended")));
    await setTimeout(20);
    await works();
    for (const client of open) client.close();
  });
  test("a reset takes back registers, memory and order", async () => {
    const client = await DiiClient.connect(HOST, server.port);
    // x6 = 0x80000000 from lui; what is stored there is gone after the reset.
    const lui = 0x80000337;
    const shift = [0x02031313, 0x02035313]; // slli x6, x6, 32; srli x6, x6, 32
    const load = 0x00033383; // ld x7, 0(x6)
    const before = await client.execute([lui, ...shift, ADD, STORE, load]);
    expect(before.at(-2)).toMatchObject({ memoryAddress: 0x8000_0000n, writeMask: 0xff, writeData: 1n, rd: 0 });
    expect(before.at(-1)).toMatchObject({ readMask: 0xff, readData: 1n, rd: 7, rdValue: 1n });
    await client.reset();
    const after = await client.execute([lui, ...shift, load]);
    expect(after.at(-1)).toMatchObject({ order: 4, trap: false, rdValue: 0n });
    client.close();
  });
  test("answers come for each command in its order, however the bytes are cut", async () => {
    const bytes = commands([Cmd.Reset, 0], [Cmd.Instruction, ADD], [Cmd.Instruction, ADD]);
    const socket = connect({ host: HOST, port: server.port, noDelay: true });
    const parts: Uint8Array[] = [];
    socket.on("data", (part) => parts.push(part));
    await once(socket, "connect");
    for (const byte of bytes) {
      socket.write(Uint8Array.of(byte));
      await setTimeout(1);
    }
    await until(() => Buffer.concat(parts).length === 3 * V1_BYTES);
    const all = new Uint8Array(Buffer.concat(parts));
    const packets = [0, 1, 2].map((at) => decodeV1(all.subarray(at * V1_BYTES, (at + 1) * V1_BYTES)));
    expect(packets.map(({ halt, order }) => [halt, order])).toEqual([
      [1, 0],
      [0, 1],
      [0, 2],
    ]);
    socket.destroy();
  });
});

describe("hostile clients end their connection only", () => {
  beforeEach(() => start({ stall: 200 }));
  afterEach(works);

  test("an unknown command, after the answers to those before it", async () => {
    const answers = await talk(commands([Cmd.Instruction, ADD], [7, 0], [Cmd.Instruction, ADD]));
    expect(answers.length).toBe(V1_BYTES);
    expect(decodeV1(answers)).toMatchObject({ rdValue: 1n });
    await until(() => log.some((line) => line.endsWith("ended: [unknown-command] command 7 after 1 commands")));
  });
  test("a version that is not spoken", async () => {
    expect((await talk(commands([Cmd.SetVersion, 3]))).length).toBe(0);
    await until(() => log.some((line) => line.endsWith("ended: [bad-version] version 3; 1 and 2 are spoken")));
  });
  test("a command that is cut off", async () => {
    await talk(commands([Cmd.Reset, 0]).subarray(0, 5));
    await until(() => log.some((line) => line.endsWith("ended: [truncated] the last command has 5 of 8 bytes")));
  });
  test("text, as of a browser", async () => {
    await talk(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    await until(() => log.some((line) => line.includes("[unknown-command]")));
  });
  test("random bytes", async () => {
    let seed = 1;
    for (let round = 0; round < 20; round++) {
      const bytes = Uint8Array.from({ length: 800 }, (_, at) => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        return at % 8 === 6 && round < 10 ? 1 : seed >>> 24; // the first rounds are all instructions
      });
      await talk(bytes);
    }
    await until(() => log.filter((line) => line.includes("ended")).length === 20);
  });
  test("a connection that is reset", async () => {
    const socket = connect({ host: HOST, port: server.port });
    await once(socket, "connect");
    socket.write(commands([Cmd.Instruction, ADD]));
    socket.resetAndDestroy();
    await until(() => log.some((line) => line.includes("ended")));
  });
  test("endless commands whose answers nobody reads", async () => {
    const socket: Socket = connect({ host: HOST, port: server.port });
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.pause();
    const flood = commands(...Array.from({ length: 8192 }, () => [Cmd.Instruction, ADD] as const));
    let sent = 0;
    while (!socket.destroyed && !log.some((line) => line.includes("[stalled]"))) {
      // More than any buffer of either side holds: the server stops reading long before.
      if (sent < 256 << 20 && socket.write(flood)) sent += flood.length;
      else await setTimeout(10);
    }
    await until(() => log.some((line) => line.endsWith("ended: [stalled] the client has read no answer for 200 ms")));
    expect(sent).toBeLessThan(128 << 20);
    socket.destroy();
  });
});

describe("the client says what is wrong with a server", () => {
  beforeEach(() => start());
  /** A server that answers everything with these bytes, then ends or not. */
  async function fake(answer: Uint8Array, end: boolean, use: (port: number) => Promise<void>): Promise<void> {
    const other = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => (end ? socket.end(answer) : socket.write(answer)));
    });
    other.listen(0, HOST);
    await once(other, "listening");
    try {
      await use((other.address() as AddressInfo).port);
    } finally {
      other.close();
    }
  }
  test.each<[string, Uint8Array, boolean, RegExp]>([
    ["closes at once", new Uint8Array(0), true, /^\[closed\]/u],
    ["closes within an answer", new Uint8Array(10), true, /^\[closed\] .* after 10 of 88 bytes/u],
    ["says nothing", new Uint8Array(0), false, /^\[timeout\] no answer within 100 ms/u],
    ["does not halt", new Uint8Array(88), false, /^\[unexpected\]/u],
    ["answers a version with other words", new Uint8Array(88 + 16).with(86, 3), false, /^\[bad-magic\]/u],
  ])("that %s", async (_, answer, end, message) => {
    await fake(answer, end, async (port) => {
      await expect(DiiClient.connect(HOST, port, { timeout: 100 })).rejects.toThrow(message);
    });
  });
});
