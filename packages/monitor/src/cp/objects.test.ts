/** Objects that cVMs share by name: who may open them, what the capability of a shared buffer allows, and what is left after it was taken away. */
import { CapCause, Cause, Perm } from "@cvm/cpu/abi";
import { afterEach, describe, expect, test } from "vitest";
import { CpRight, type CpAnswer, type CpRequest } from "../abi.ts";
import { CALL_CAPABILITY } from "../gate.ts";
import type { Monitor } from "../monitor.ts";
import { createMonitor } from "../monitor.ts";
import type { Toy, ToyCall, ToyConfig } from "../test-support/toy.ts";
import { DATA, smallMachine, toyCvm } from "../test-support/toy.ts";

const { Read, Write, Connect, Listen } = CpRight;
const BOTH = Read | Write;
const HELLO = new TextEncoder().encode("hello, other cVM");

const monitors: Monitor[] = [];
function monitorOf(): Monitor {
  const monitor = createMonitor(smallMachine());
  monitors.push(monitor);
  return monitor;
}
afterEach(() => {
  for (const monitor of monitors.splice(0)) for (const cvm of monitor.cvms) monitor.destroyCvm(cvm);
});

/** System call 500: opens the file "shared" with the rights in a0. 501 waits for ever. */
const OPEN: ToyCall = {
  name: "open",
  number: 500,
  args: [{ name: "rights", kind: "int" }],
  handler: (call, toy) => toy.host.cp({ cp: "open", kind: "file", name: "shared", rights: call.args[0] as number }) as number,
};
/** Opens with rights, and has the capability in ca0 (its number in s0). */
const fetch = (rights: number): string => `
    li a0, ${rights}
    li a7, 500
    ecall
    mv s0, a0
    li a7, ${CALL_CAPABILITY}
    ecall
`;
const exit = "li a7, 93\n ecall";

async function start(monitor: Monitor, config: ToyConfig) {
  const made = toyCvm({ calls: [OPEN], ...config });
  const cvm = monitor.createCvm(made.config);
  await cvm.start();
  return { ...made, cvm };
}
async function run(monitor: Monitor, config: ToyConfig) {
  const made = await start(monitor, config);
  return { ...made, end: await made.heard.ended };
}
const ask = (toy: Toy, request: CpRequest): CpAnswer => toy.host.cp(request) as CpAnswer;
/** A cVM that does nothing for a long time. */
const IDLE = "loop: j loop";

describe("a shared buffer", () => {
  test("what one cVM stores through its capability the other loads through its own", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 4096, content: HELLO, grants: [{ cvm: "*", rights: BOTH }] });
    const writer = await run(monitor, {
      name: "writer",
      program: `${fetch(BOTH)}\n lbu.cap s1, (ca0)\n cincoffsetimm ca0, ca0, 100\n li t0, 77\n sb.cap t0, (ca0)\n mv a0, s1\n ${exit}`,
    });
    expect(writer.end).toEqual([0, "h".charCodeAt(0), 0]);
    const reader = await run(monitor, {
      name: "reader",
      program: `${fetch(Read)}\n cincoffsetimm ca0, ca0, 100\n lbu.cap a0, (ca0)\n ${exit}`,
    });
    expect(reader.end).toEqual([0, 77, 0]);
  });

  test("its capability has the buffer's bounds and the rights that were opened, and neither loads nor stores capabilities", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 8192, grants: [{ cvm: "toy", rights: BOTH }] });
    const { cvm, toy } = await start(monitor, { program: IDLE });
    expect(ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read })).toBe(1);
    expect(ask(toy(), { cp: "open", kind: "file", name: "shared", rights: BOTH })).toBe(2);
    const [read, both] = cvm.capabilities().filter(({ object }) => object?.name === "shared");
    expect(read).toMatchObject({ where: "table, 1", rights: Read, capability: { tag: true, perms: Perm.Load | Perm.Global, otype: -1 } });
    expect(both!.capability!.perms).toBe(Perm.Load | Perm.Store | Perm.Global);
    expect(both!.capability!.top - both!.capability!.base).toBe(8192n);
  });

  const attacks = [
    ["a store with the right to read", Read, "sb.cap zero, (ca0)", CapCause.PermitStore],
    ["a load with the right to write", Write, "lbu.cap t0, (ca0)", CapCause.PermitLoad],
    ["a load behind its end", BOTH, "li t0, 4096\n cincoffset ca0, ca0, t0\n lbu.cap t0, (ca0)", CapCause.Length],
    ["bounds that were grown", BOTH, "li t0, 8192\n csetbounds ca0, ca0, t0\n lbu.cap t0, (ca0)", CapCause.Tag],
    ["a capability that is stored into it", BOTH, "sc.cap ca0, (ca0)", CapCause.PermitStoreCap],
    ["a number in place of a capability", BOTH, "cgetaddr t0, ca0\n mv a0, t0\n lbu.cap t0, (ca0)", CapCause.Tag],
  ] as const;
  test.each(attacks)("%s faults, and the buffer is as it was", async (_, rights, attack, cause) => {
    const monitor = monitorOf();
    const object = monitor.objects.declare({
      kind: "file",
      name: "shared",
      size: 4096,
      content: HELLO,
      grants: [{ cvm: "*", rights: BOTH }],
    });
    const { heard, end } = await run(monitor, { program: `${fetch(rights)}\n ${attack}\n li a0, 0\n ${exit}` });
    expect(end).toEqual([0, 0, 11]);
    expect(heard.faults[0]).toMatchObject({ cause: Cause.Cheri, value: 10 * 32 + cause });
    const { toy } = await start(monitor, { name: "other", program: IDLE });
    const handle = ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read }) as number;
    const bytes = ask(toy(), { cp: "read", handle, offset: 0, length: 4096 }) as Uint8Array;
    expect(Buffer.from(bytes).toString("latin1")).toBe(Buffer.from(HELLO).toString("latin1") + "\0".repeat(4096 - HELLO.length));
    expect(object.size).toBe(4096);
  });

  test("integers do not reach it: its address is an offset in a process's own region, or a fault", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 4096, content: HELLO, grants: [{ cvm: "*", rights: BOTH }] });
    await run(monitor, { program: `${fetch(BOTH)}\n cgetaddr t0, ca0\n li t1, 77\n sb t1, 0(t0)\n li a0, 0\n ${exit}` });
    const { toy } = await start(monitor, { name: "other", program: IDLE });
    const handle = ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read }) as number;
    expect(Buffer.from(ask(toy(), { cp: "read", handle, offset: 0, length: 5 }) as Uint8Array).toString()).toBe("hello");
  });
});

describe("opening", () => {
  test("no such object, a right that was not granted, a grant of one's own in place of the one for all", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({
      kind: "file",
      name: "shared",
      size: 16,
      grants: [
        { cvm: "*", rights: BOTH },
        { cvm: "toy", rights: Read },
      ],
    });
    monitor.objects.declare({ kind: "stream", name: "hidden", grants: [{ cvm: "other", rights: Connect }] });
    const { toy } = await start(monitor, { program: IDLE });
    const open = (kind: "file" | "stream", name: string, rights: number): CpAnswer => ask(toy(), { cp: "open", kind, name, rights });
    expect(open("file", "nothing", Read)).toBe(-2);
    expect(open("file", "hidden", Read)).toBe(-2);
    expect(open("file", "shared", BOTH)).toBe(-13);
    expect(open("stream", "hidden", Connect)).toBe(-13);
    expect(open("file", "shared", Read)).toBe(1);
    expect(ask(toy(), { cp: "list" })).toEqual([{ kind: "file", name: "shared", rights: Read, size: 16 }]);
  });

  test("a number of another cVM stands for nothing here", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 16, grants: [{ cvm: "one", rights: BOTH }] });
    const one = await start(monitor, { name: "one", program: IDLE });
    const two = await start(monitor, { name: "two", program: IDLE });
    const handle = ask(one.toy(), { cp: "open", kind: "file", name: "shared", rights: BOTH }) as number;
    expect(handle).toBe(1);
    for (const cp of ["changes", "notify", "close"] as const) expect(ask(two.toy(), { cp, handle })).toBe(-9);
    expect(ask(two.toy(), { cp: "read", handle, offset: 0, length: 1 })).toBe(-9);
    expect(ask(two.toy(), { cp: "write", handle, offset: 0, bytes: HELLO })).toBe(-9);
    const { end } = await run(monitor, { name: "three", program: `li a0, 1\n li a7, ${CALL_CAPABILITY}\n ecall\n neg a0, a0\n ${exit}` });
    expect(end).toEqual([0, 9, 0]);
  });

  test("a flood of opens meets the table's end; the host and others go on", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 16, grants: [{ cvm: "*", rights: BOTH }] });
    const { toy } = await start(monitor, { program: IDLE });
    const open = (): number => ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read }) as number;
    let last = 0;
    for (let times = 0; times < 4096; times++) expect((last = open())).toBeGreaterThan(0);
    expect(open()).toBe(-24);
    expect(ask(toy(), { cp: "close", handle: last })).toBe(0);
    expect(open()).toBe(last);
    const other = await start(monitor, { name: "other", program: IDLE });
    expect(ask(other.toy(), { cp: "open", kind: "file", name: "shared", rights: Read })).toBe(1);
  });

  test("requests that are not in order are refused and counted", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 16, grants: [{ cvm: "*", rights: BOTH }] });
    const { cvm, toy } = await start(monitor, { program: IDLE });
    const handle = ask(toy(), { cp: "open", kind: "file", name: "shared", rights: BOTH }) as number;
    const odd: unknown[] = [
      null,
      [],
      {},
      { cp: "toString" },
      { cp: "open", kind: "file", name: "x".repeat(129), rights: 1 },
      { cp: "open", kind: "file", name: "shared", rights: 0 },
      { cp: "open", kind: "file", name: "shared", rights: Connect },
      { cp: "open", kind: "constructor", name: "shared", rights: 1 },
      { cp: "read", handle, offset: -1, length: 1 },
      { cp: "read", handle, offset: 0, length: Number.NaN },
      { cp: "write", handle, offset: 0.5, bytes: HELLO },
      { cp: "write", handle, offset: 0, bytes: "text" },
    ];
    for (const request of odd) expect(ask(toy(), request as CpRequest)).toBe(-22);
    expect(cvm.inspect().refused).toBe(odd.length);
    expect(ask(toy(), { cp: "read", handle: {} as number, offset: 0, length: 1 })).toBe(-9);
    expect(ask(toy(), { cp: "read", handle, offset: 2 ** 52, length: 8 })).toHaveLength(0);
    expect(ask(toy(), { cp: "write", handle, offset: 16, bytes: HELLO })).toBe(-28);
    expect(ask(toy(), { cp: "write", handle, offset: 10, bytes: HELLO })).toBe(6);
    expect(ask(toy(), { cp: "listen", handle, stream: 1, backlog: 1 })).toBe(-9);
  });

  test("what cannot be declared, and that a name is free again", () => {
    const monitor = monitorOf();
    const { objects } = monitor;
    const free = monitor.freeBytes;
    const grants = [{ cvm: "*", rights: Read }];
    expect(() => objects.declare({ kind: "file", name: "a/b", size: 1, grants })).toThrow("[invalid]");
    expect(() => objects.declare({ kind: "file", name: "a", grants })).toThrow("[invalid]");
    expect(() => objects.declare({ kind: "stream", name: "a", size: 1, grants: [] })).toThrow("[invalid]");
    expect(() => objects.declare({ kind: "stream", name: "a", grants })).toThrow("[invalid]");
    expect(() => objects.declare({ kind: "file", name: "a", size: 4, content: HELLO, grants })).toThrow("[invalid]");
    expect(() => objects.declare({ kind: "file", name: "a", size: 1 << 30, grants })).toThrow("[exhausted]");
    const object = objects.declare({ kind: "file", name: "a", size: 1, grants });
    expect(() => objects.declare({ kind: "file", name: "a", size: 1, grants })).toThrow("[exists]");
    objects.revoke(object);
    expect(monitor.freeBytes).toBe(free);
    expect(objects.declare({ kind: "file", name: "a", size: 1, grants }).changes).toBe(0);
  });
});

describe("notification", () => {
  test("all that opened it hear of it, the one that said so too", async () => {
    const monitor = monitorOf();
    monitor.objects.declare({ kind: "file", name: "shared", size: 16, grants: [{ cvm: "*", rights: BOTH }] });
    const one = await start(monitor, { name: "one", program: IDLE });
    const two = await start(monitor, { name: "two", program: IDLE });
    const [a, b] = [one, two].map(({ toy }) => ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read }) as number) as [
      number,
      number,
    ];
    expect(ask(one.toy(), { cp: "notify", handle: a })).toBe(1);
    expect(two.toy().log).toEqual([]);
    await expect.poll(() => two.toy().log).toEqual([`notified ${b} 1`]);
    expect(one.toy().log).toEqual([`notified ${a} 1`]);
    expect(ask(two.toy(), { cp: "changes", handle: b })).toBe(1);
  });
});

describe("revocation", () => {
  const holding = `${fetch(BOTH)}\n li t1, 1\n again: sb.cap t1, (ca0)\n j again`;

  test("of a buffer: copies in registers and numbers are gone, the memory is zeroed and free", async () => {
    const monitor = monitorOf();
    const free = monitor.freeBytes;
    const object = monitor.objects.declare({ kind: "file", name: "shared", size: 4096, grants: [{ cvm: "*", rights: BOTH }] });
    const before = monitor.freeBytes;
    const { heard, toy } = await start(monitor, { program: holding });
    await expect.poll(() => monitor.capabilities(monitor.cvms[0]!).some(({ where }) => where === "thread 1, c10")).toBe(true);
    expect(monitor.objects.revoke(object)).toBeGreaterThan(0);
    expect(await heard.ended).toEqual([0, 0, 11]);
    expect(heard.faults[0]).toMatchObject({ cause: Cause.Cheri, value: 10 * 32 + CapCause.Tag });
    expect(toy().log).toEqual(["notified 1 0"]);
    expect(monitor.freeBytes).toBe(free);
    expect(before).toBe(free - 4096);
  });

  test("of one cVM's grant: its copies are gone, those of another work on", async () => {
    const monitor = monitorOf();
    const object = monitor.objects.declare({ kind: "file", name: "shared", size: 4096, grants: [{ cvm: "*", rights: BOTH }] });
    const loser = await start(monitor, { name: "loser", program: holding });
    const keeper = await start(monitor, { name: "keeper", program: holding });
    const holds = (at: number): boolean => monitor.capabilities(monitor.cvms[at]!).some(({ where }) => where === "thread 1, c10");
    await expect.poll(() => holds(0) && holds(1)).toBe(true);
    monitor.objects.revokeFrom(object, "loser");
    expect(await loser.heard.ended).toEqual([0, 0, 11]);
    expect(holds(1)).toBe(true);
    expect(keeper.heard.exits).toEqual([]);
    expect(ask(keeper.toy(), { cp: "list" })).toHaveLength(1);
    const again = await start(monitor, { name: "again", program: IDLE });
    expect(ask(again.toy(), { cp: "open", kind: "file", name: "shared", rights: Read })).toBe(1);
  });

  test("a name that was revoked from a cVM cannot be opened by it again", async () => {
    const monitor = monitorOf();
    const object = monitor.objects.declare({ kind: "file", name: "shared", size: 4096, grants: [{ cvm: "*", rights: BOTH }] });
    const { toy } = await start(monitor, { program: IDLE });
    const handle = ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read }) as number;
    monitor.objects.revokeFrom(object, "toy");
    expect(ask(toy(), { cp: "read", handle, offset: 0, length: 1 })).toBe(-9);
    expect(ask(toy(), { cp: "open", kind: "file", name: "shared", rights: Read })).toBe(-13);
    expect(ask(toy(), { cp: "list" })).toEqual([]);
  });

  test("the end of a cVM: its numbers are gone, the object stays for others", async () => {
    const monitor = monitorOf();
    const object = monitor.objects.declare({ kind: "file", name: "shared", size: 4096, grants: [{ cvm: "*", rights: BOTH }] });
    const { end } = await run(monitor, { program: `${fetch(BOTH)}\n li t0, 5\n sb.cap t0, (ca0)\n li a0, 0\n ${exit}` });
    expect(end).toEqual([0, 0, 0]);
    expect(object.holders.size).toBe(0);
    const other = await run(monitor, { name: "other", program: `${fetch(Read)}\n lbu.cap a0, (ca0)\n ${exit}` });
    expect(other.end).toEqual([0, 5, 0]);
  });
});

describe("streams by name", () => {
  const pair = async (rights = Connect) => {
    const monitor = monitorOf();
    const object = monitor.objects.declare({
      kind: "stream",
      name: "line",
      grants: [
        { cvm: "server", rights: Listen },
        { cvm: "client", rights },
      ],
    });
    const server = await start(monitor, {
      name: "server",
      program: IDLE,
      setUp: (toy) =>
        (toy.incoming = (_listener, from, accept) => {
          toy.log.push(`from ${from.address} ${from.port}`);
          accept(7);
        }),
    });
    const client = await start(monitor, { name: "client", program: IDLE });
    const open = (toy: Toy, wanted: number): number => ask(toy, { cp: "open", kind: "stream", name: "line", rights: wanted }) as number;
    return { monitor, object, server: server.toy(), client: client.toy(), open, serverCvm: server.cvm };
  };

  test("listen, connect, bytes both ways, end", async () => {
    const { server, client, open } = await pair();
    expect(ask(server, { cp: "listen", handle: open(server, Listen), stream: 5, backlog: 3 })).toBe(0);
    expect(ask(client, { cp: "connect", handle: open(client, Connect), stream: 9 })).toBe(0);
    await expect.poll(() => client.log).toEqual(["connected 9 0"]);
    expect(server.log[0]).toMatch(/^from 10\.88\.\d+\.\d+ 0$/u);
    client.host.send(9, new TextEncoder().encode("ping"));
    server.host.send(7, new TextEncoder().encode("pong"));
    client.host.shutdown(9);
    await expect.poll(() => server.log.slice(1)).toEqual(["received 7 ping", "ended 7"]);
    await expect.poll(() => client.log.slice(1)).toEqual(["received 9 pong"]);
  });

  test("without the right, without a listener, with two of them", async () => {
    const { server, client, open } = await pair();
    expect(open(client, Listen)).toBe(-13);
    expect(open(server, Connect)).toBe(-13);
    const [from, to] = [open(client, Connect), open(server, Listen)];
    expect(ask(client, { cp: "listen", handle: from, stream: 9, backlog: 1 })).toBe(-9);
    expect(ask(client, { cp: "connect", handle: from, stream: 9 })).toBe(0);
    await expect.poll(() => client.log).toEqual(["connected 9 111"]);
    expect(ask(server, { cp: "listen", handle: to, stream: 5, backlog: 1 })).toBe(0);
    expect(ask(server, { cp: "listen", handle: to, stream: 6, backlog: 1 })).toBe(-98);
    expect(ask(server, { cp: "listen", handle: to, stream: 0, backlog: 1 })).toBe(-98);
  });

  test("revoked: the connection is reset at both ends, and nobody connects again", async () => {
    const { monitor, object, server, client, open } = await pair();
    ask(server, { cp: "listen", handle: open(server, Listen), stream: 5, backlog: 3 });
    const handle = open(client, Connect);
    ask(client, { cp: "connect", handle, stream: 9 });
    await expect.poll(() => client.log).toEqual(["connected 9 0"]);
    monitor.objects.revoke(object);
    await expect.poll(() => client.log.slice(1).toSorted()).toEqual(["notified 1 0", "reset 9 104"]);
    expect(server.log).toContain("reset 7 104");
    expect(ask(client, { cp: "connect", handle, stream: 10 })).toBe(-9);
  });

  test("the listener's cVM dies: connections are reset, new ones refused", async () => {
    const { monitor, server, client, open, serverCvm } = await pair();
    ask(server, { cp: "listen", handle: open(server, Listen), stream: 5, backlog: 3 });
    const handle = open(client, Connect);
    ask(client, { cp: "connect", handle, stream: 9 });
    await expect.poll(() => client.log).toEqual(["connected 9 0"]);
    monitor.destroyCvm(serverCvm);
    await expect.poll(() => client.log.at(-1)).toBe("reset 9 104");
    expect(ask(client, { cp: "connect", handle, stream: 9 })).toBe(0);
    await expect.poll(() => client.log.at(-1)).toBe("connected 9 111");
  });
});

test("the data of a cVM stays its own", async () => {
  const monitor = monitorOf();
  const { cvm } = await start(monitor, { program: `li t0, ${DATA}\n sd t0, 0(t0)\n loop: j loop` });
  expect(cvm.capabilities().map(({ where }) => where)).toEqual(["process 1, data", "process 1, code"]);
});
