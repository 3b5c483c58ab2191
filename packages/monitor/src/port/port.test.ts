import { afterEach, expect, test } from "vitest";
import type { HostCalls, LibraryOs, SyscallCall } from "../abi.ts";
import { PENDING } from "../abi.ts";
import type { Monitor } from "../monitor.ts";
import { createMonitor } from "../monitor.ts";
import type { Heard } from "../test-support/toy.ts";
import { listen, smallMachine, Toy, EXIT } from "../test-support/toy.ts";
import type { ToyCall } from "../test-support/toy.ts";
import { connectLibraryOs } from "./connect.ts";
import type { PlainPort } from "./messages.ts";
import { decodeMessage, Kind, overMessagePort, plain, PORT_VERSION } from "./messages.ts";
import { serveLibraryOs } from "./serve.ts";

type Wire = InstanceType<typeof MessageChannel>;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

function channel(): [PlainPort, PlainPort, Wire] {
  const both = new MessageChannel();
  closers.push(() => both.port1.close());
  return [overMessagePort(both.port1), overMessagePort(both.port2), both];
}

const WRITE: ToyCall = {
  name: "write",
  number: 64,
  args: [
    { name: "fd", kind: "fd" },
    { name: "buf", kind: "in", length: { arg: "count" } },
    { name: "count", kind: "ulong" },
  ],
  handler: (call, toy) => {
    toy.host.consoleWrite(0, 1, call.args[1] as Uint8Array);
    toy.host.complete(call.thread, (call.args[1] as Uint8Array).length);
    return PENDING;
  },
};
const READ: ToyCall = {
  name: "read",
  number: 63,
  args: [
    { name: "fd", kind: "fd" },
    { name: "buf", kind: "out", length: { arg: "count" } },
    { name: "count", kind: "ulong" },
  ],
  handler: () => ({ result: 2, out: [{ arg: 1, value: new Uint8Array(new TextEncoder().encode("xhix").buffer, 1, 2) }] }),
};

interface Remote {
  readonly monitor: Monitor;
  readonly heard: Heard;
  readonly violations: string[];
  readonly toy: () => Toy;
  readonly cvm: ReturnType<Monitor["createCvm"]>;
  readonly wire: Wire;
}

/** A cVM whose library OS is reached by structured clones only. */
function remote(program: string, calls: readonly ToyCall[], options: unknown = { program }): Remote {
  const [near, far, wire] = channel();
  const monitor = createMonitor(smallMachine());
  const heard = listen();
  const violations: string[] = [];
  let toy: Toy | undefined;
  serveLibraryOs(far, {
    create: (host, received) => {
      expect(received).toEqual(options);
      toy = new Toy(
        host,
        "",
        program,
        [EXIT, ...calls].filter((call) => call !== EXIT),
      );
      return toy;
    },
    violation: (what) => void violations.push(`far: ${what}`),
  });
  const cvm = monitor.createCvm({
    name: "remote",
    memoryBytes: 1 << 20,
    events: heard.events,
    libraryOs: (host) => connectLibraryOs(near, host, { options, violation: (what) => void violations.push(what) }),
  });
  closers.push(() => monitor.destroyCvm(cvm));
  return { monitor, heard, violations, toy: () => toy!, cvm, wire };
}

test("a program runs with every message serialised", async () => {
  const { heard, cvm, violations } = remote(
    `mv a1, sp\nli a2, 8\nli a7, 63\necall\nmv a2, a0\nmv a1, sp\nli a7, 64\necall\nli a7, 93\necall`,
    [WRITE, READ],
  );
  await cvm.start();
  expect(await heard.ended).toEqual([0, 2, 0]);
  expect(heard.output).toEqual(["hi"]);
  expect(violations).toEqual([]);
  expect(cvm.inspect()).toMatchObject({ refused: 0, processes: 0 });
});

test("faults and interrupts are asked for, and wait for the answer", async () => {
  const { heard, cvm, toy } = remote(`li a7, 500\necall\nebreak`, [
    { name: "self", number: 500, handler: (call) => ({ result: 0, ops: [{ op: "interrupt", thread: call.thread }] }) },
  ]);
  const order: string[] = [];
  await Promise.all([
    cvm.start(),
    Promise.resolve().then(async () => {
      while (toy() === undefined) await new Promise((resolve) => setImmediate(resolve));
      toy().interrupted = async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        order.push("interrupted");
        return [];
      };
      const fault = toy().fault;
      toy().fault = (what) => {
        order.push("fault");
        return fault(what);
      };
    }),
  ]);
  expect(await heard.ended).toEqual([0, 0, 11]);
  expect(order).toEqual(["interrupted", "fault"]);
  expect(heard.faults[0]?.text).toContain("breakpoint");
});

test("a handler that throws gives EIO; a failed start is told with its errno", async () => {
  const { heard, cvm } = remote(`li a7, 500\necall\nneg a0, a0\nli a7, 93\necall`, [
    {
      name: "bad",
      number: 500,
      handler: () => {
        throw new Error("oops");
      },
    },
  ]);
  await cvm.start();
  expect(await heard.ended).toEqual([0, 5, 0]);

  const [near, far] = channel();
  serveLibraryOs(far, {
    create: () => {
      throw Object.assign(new Error("no such file"), { errno: 2 });
    },
  });
  await expect(connectLibraryOs(near, {} as HostCalls, { options: null })).rejects.toMatchObject({ errno: 2, message: "no such file" });
});

test("when the library OS goes away its cVM ends as if killed", async () => {
  const { heard, cvm, wire, monitor } = remote("loop: j loop", []);
  await cvm.start();
  wire.port2.close();
  expect(await heard.ended).toEqual([0, 0, 9]);
  expect(cvm.inspect()).toMatchObject({ processes: 0, threads: 0 });
  expect(monitor.cvms).toEqual([cvm]);
});

/** A port whose other side is this test. */
function scripted(): { readonly port: PlainPort; readonly sent: unknown[][]; readonly inject: (message: unknown) => void } {
  const sent: unknown[][] = [];
  let listener: (message: unknown) => void = () => {};
  return {
    port: {
      send: (message) => void sent.push(message as unknown[]),
      onMessage: (to) => void (listener = to),
      onClose: () => {},
      close: () => {},
    },
    sent,
    inject: (message) => listener(message),
  };
}

test("hostile messages to the monitor have no effect but a report", async () => {
  const monitor = createMonitor(smallMachine());
  const heard = listen();
  const violations: string[] = [];
  const { port, sent, inject } = scripted();
  let os: LibraryOs | undefined;
  const cvm = monitor.createCvm({
    name: "hostile",
    memoryBytes: 1 << 20,
    events: heard.events,
    libraryOs: async (host) =>
      (os = await connectLibraryOs(port, host, { options: null, violation: (what) => void violations.push(what) })),
  });
  closers.push(() => monitor.destroyCvm(cvm));
  const started = cvm.start();
  await Promise.resolve();
  inject([Kind.Return, sent[0]![1], { version: PORT_VERSION, syscalls: [] }]);
  await new Promise((resolve) => setImmediate(resolve));
  inject([Kind.Return, 2, null]);
  await started;
  const free = monitor.freeBytes;
  for (const message of [
    null,
    7,
    "x",
    [],
    [9],
    [Kind.Call],
    [Kind.Call, 1.5, "fork", []],
    [Kind.Call, 1, "fork"],
    [Kind.Call, 1, "fork", Array.from({ length: 9 })],
    [Kind.Event, "nothing", []],
    [Kind.Event, "__proto__", []],
    [Kind.Event, "constructor", []],
    [Kind.Return, 4711, 0],
    [Kind.Return, "1", 0],
    [Kind.Throw, 1, null],
    [Kind.Event, "accept", [1, 1]],
  ])
    inject(message);
  expect(violations).toHaveLength(16);
  const before = sent.length;
  for (const [method, args] of [
    ["hello", []],
    ["toString", []],
    ["createProcess", [Number.NaN]],
    ["createProcess", [-1]],
    ["createProcess", [1e300]],
    ["createProcess", ["4096"]],
    ["fork", [1, 2]],
    ["fork", [{}, []]],
    ["operate", [null]],
    ["operate", [[{ op: "endProcess", process: 1 }]]],
    ["operate", [[null]]],
    ["readMemory", [1, 0, 16]],
    ["listen", [1, 0.5, 1]],
    ["listen", ["1", 80, 1]],
  ] as const)
    inject([Kind.Call, 1, method, args]);
  await new Promise((resolve) => setImmediate(resolve));
  const answers = sent.slice(before);
  expect(answers.map(([kind]) => kind)).toEqual([Kind.Throw, Kind.Throw, ...Array.from({ length: 12 }, () => Kind.Return)]);
  expect(answers.slice(2).map(([, , value]) => value)).toEqual([-12, -12, -12, -12, -22, -22, -22, -22, -22, null, -22, -22]);
  for (const [method, args] of [
    ["complete", [1, 0]],
    ["complete", [Number.NaN, {}]],
    ["start", [-1]],
    ["send", [1, "text"]],
    ["connect", [1, { address: "::1", port: 1 }, 0]],
    ["connect", [1, null, 0]],
    ["consoleWrite", [0, 3, new Uint8Array(1)]],
    ["consoleWrite", [0, 1, "text"]],
    ["exited", [0, -1, 0]],
    ["exited", [7, 0, 0]],
    ["credit", [1, Number.NaN]],
    ["trace", [5]],
  ] as const)
    inject([Kind.Event, method, args]);
  expect(cvm.state).toBe("running");
  expect(heard.output).toEqual([]);
  expect(heard.exits).toEqual([]);
  expect(monitor.freeBytes).toBe(free);
  expect(cvm.inspect().refused).toBeGreaterThan(8);
  expect(os).toBeDefined();
});

test("messages to a library OS are checked too", async () => {
  const { port, sent, inject } = scripted();
  const violations: string[] = [];
  let calls = 0;
  serveLibraryOs(port, {
    create: (host) => {
      const toy = new Toy(host, "", "", []);
      toy.syscall = (call: SyscallCall) => {
        calls++;
        return call.args.length;
      };
      return toy;
    },
    violation: (what) => void violations.push(what),
  });
  inject([Kind.Call, 1, "syscall", [{ process: 1, thread: 1, number: 1, args: [] }]]);
  inject([Kind.Call, 2, "hello", [PORT_VERSION + 1, null]]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(sent.map(([kind]) => kind)).toEqual([Kind.Throw, Kind.Throw]);
  inject([Kind.Call, 3, "hello", [PORT_VERSION, null]]);
  await new Promise((resolve) => setImmediate(resolve));
  for (const args of [[], [{}], [{ process: 1, thread: 0, number: 1, args: [] }], [null, null]]) inject([Kind.Call, 4, "syscall", args]);
  inject([Kind.Event, "received", [1, "text"]]);
  inject([Kind.Event, "signal", [0, Number.NaN]]);
  expect(calls).toBe(0);
  expect(sent.slice(3).every(([kind]) => kind === Kind.Throw)).toBe(true);
  expect(violations).toHaveLength(2);
  inject([Kind.Call, 5, "syscall", [{ process: 1, thread: 1, number: 1, args: [1, 2] }]]);
  expect(sent.at(-1)).toEqual([Kind.Return, 5, 2]);
});

test("only data leaves: no functions, no more of a buffer than the view", () => {
  const whole = new Uint8Array([1, 2, 3, 4]);
  const part = plain({ part: whole.subarray(1, 3), handler: () => 0, list: [PENDING] }) as { part: Uint8Array };
  expect(part).toEqual({ part: new Uint8Array([2, 3]), list: [null] });
  expect(part.part.buffer.byteLength).toBe(2);
  expect(plain(whole)).toBe(whole);
  expect(decodeMessage([Kind.Event, "x", []])).not.toBeNull();
});
