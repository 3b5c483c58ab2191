import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { afterAll, beforeAll, expect, test } from "vitest";
import { labelsOf, NameResolver } from "./resolver.ts";

/** A name server with these records: type and data by name. */
const records: Readonly<Record<string, readonly [type: number, data: Uint8Array][]>> = {
  "web.example": [
    [1, Uint8Array.of(192, 0, 2, 1)],
    [28, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
    [16, Uint8Array.of(2, 104, 105)],
    [15, Uint8Array.of(0, 10, ...labelsOf("mail.example")!)],
  ],
  "1.2.0.192.in-addr.arpa": [[12, labelsOf("web.example")!]],
  "_sip._udp.example": [[33, Uint8Array.of(0, 1, 0, 2, 0x13, 0xc4, ...labelsOf("sip.example")!)]],
};
let server: Socket;
let resolver: NameResolver;
let asked: string[] = [];
beforeAll(async () => {
  server = createSocket("udp4");
  server.on("message", (query, { address, port }) => {
    const labels: string[] = [];
    let at = 12;
    for (; query[at] !== 0; at += 1 + query[at]!) labels.push(query.subarray(at + 1, at + 1 + query[at]!).toString());
    const name = labels.join(".").toLowerCase();
    asked.push(name);
    const type = query.readUInt16BE(at + 1);
    const found = (records[name] ?? []).filter(([one]) => one === type);
    const parts = found.map(([, data]) =>
      Buffer.concat([Buffer.from([0xc0, 12, type >> 8, type, 0, 1, 0, 0, 0, 77, data.length >> 8, data.length]), data]),
    );
    const code = name === "broken.example" ? 2 : records[name] === undefined ? 3 : 0;
    const head = Buffer.from([query[0]!, query[1]!, 0x81, 0x80 | code, 0, 1, 0, found.length, 0, 0, 0, 0]);
    server.send(Buffer.concat([head, query.subarray(12, at + 5), ...parts]), port, address);
  });
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", () => resolve()));
  resolver = new NameResolver([`127.0.0.1:${server.address().port}`]);
});
afterAll(() => {
  resolver.close();
  server.close();
});
const ask = (type: number, name: string): Promise<number[]> =>
  resolver.answer(Buffer.concat([Uint8Array.of(type >> 8, type), Buffer.from(name, "latin1")])).then((bytes) => [...bytes]);

test("answers for addresses have the time of the server", async () => {
  expect(await ask(1, "web.example")).toEqual([0, 0, 1, 0, 0, 0, 77, 0, 4, 192, 0, 2, 1]);
  expect(await ask(28, "WEB.example")).toEqual([0, 0, 28, 0, 0, 0, 77, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
});

test.each([
  [12, "1.2.0.192.in-addr.arpa", [3, 119, 101, 98, 7, 101, 120, 97, 109, 112, 108, 101, 0]],
  [15, "web.example", [0, 10, ...labelsOf("mail.example")!]],
  [16, "web.example", [2, 104, 105]],
  [33, "_sip._udp.example", [0, 1, 0, 2, 0x13, 0xc4, ...labelsOf("sip.example")!]],
])("records of type %d are passed on", async (type, name, data) => {
  expect(await ask(type, name)).toEqual([0, 0, type, 0, 0, 0, 30, 0, data.length, ...data]);
});

test("no such name, no such record, a server that fails", async () => {
  expect(await ask(1, "nobody.example")).toEqual([3]);
  expect(await ask(1, "1.2.0.192.in-addr.arpa")).toEqual([0]);
  expect(await ask(65, "web.example")).toEqual([0]);
  expect(await ask(1, "broken.example")).toEqual([2]);
});

test("what is no name is not asked for", async () => {
  asked = [];
  for (const name of ["", ".", "a..b", "-\0", "a b", `${"x".repeat(64)}.example`, `${"a.".repeat(130)}b`, "né.example"])
    expect(await ask(1, name)).toEqual([3]);
  expect([...(await resolver.answer(new Uint8Array(0)))]).toEqual([3]);
  expect(asked).toEqual([]);
});

test("only so many questions are under way", async () => {
  const answers = await Promise.all(Array.from({ length: 80 }, () => ask(1, "web.example")));
  expect(answers.filter(([code]) => code === 2)).toHaveLength(16);
  expect(answers.filter(([code]) => code === 0)).toHaveLength(64);
});
