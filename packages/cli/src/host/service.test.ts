import { existsSync, readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { exitCodeOf } from "../errors.ts";
import { Folder } from "../home.ts";
import { makeScratchImage } from "../images/scratch.ts";
import { putImage, removeImage } from "../images/store.ts";
import type { Image } from "../images/store.ts";
import { useTemporaryHome } from "../test-support/home.ts";
import { configOf, FakeRuntime } from "../test-support/runtime.ts";
import type { CvmConfig, CvmState, Events, Method, Params, Results } from "./protocol.ts";
import { cvmFolder, loadStates, readLog, saveState } from "./records.ts";
import type { Client } from "./service.ts";
import { HostService } from "./service.ts";

useTemporaryHome();

/** A command that keeps what it is told: `1:text` for output, `exit 7`, `report …`. */
class Listener implements Client {
  readonly heard: string[] = [];
  send<E extends keyof Events>(event: E, data: Events[E]): void {
    if (event === "output") {
      const { console, fd, bytes } = data as Events["output"];
      this.heard.push(`${console}/${fd}:${Buffer.from(bytes).toString()}`);
    } else if (event === "exit") this.heard.push(`${(data as Events["exit"]).console} exit ${(data as Events["exit"]).code}`);
    else this.heard.push(`report ${(data as Events["report"]).text}`);
  }
}

let runtime: FakeRuntime;
let service: HostService;
let image: Image;
let client: Listener;

beforeEach(async () => {
  image = await makeScratchImage("test", [{ path: "etc/passwd", data: Buffer.from("root:x:0:0::/root:\nredis:x:5:6::/data:\n") }], {});
  runtime = new FakeRuntime();
  service = new HostService(runtime);
  client = new Listener();
});

const ask = <M extends Method>(method: M, params: Params[M], who: Client = client): Promise<Results[M]> =>
  service.handle(method, params, who) as Promise<Results[M]>;
const create = async (changes: Partial<CvmConfig> = {}): Promise<string> => (await ask("create", configOf(image.id, changes))).id;
/** Makes and starts a cVM, attached as `cvm run` does. */
const run = async (changes: Partial<CvmConfig> = {}): Promise<string> => {
  const id = await create(changes);
  await ask("attach", { id, console: 0 });
  await ask("start", { id });
  return id;
};
const stateOf = async (id: string): Promise<CvmState> => ask("inspect", { id });
const failure = async (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
  promise.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => error as Error,
  );
const errno = (number: number): Error => Object.assign(new Error("cannot"), { errno: number });

describe("requests", () => {
  test("unknown ones and bad parameters are refused", async () => {
    for (const method of ["nothing", "constructor", "__proto__", ""])
      await expect(service.handle(method, {}, client)).rejects.toThrow(/^\[invalid\] the host knows no request/u);
    const bad: [Method, unknown][] = [
      ["start", {}],
      ["start", { id: "" }],
      ["start", { id: "x", more: 1 }],
      ["kill", { id: "x", signal: 0 }],
      ["kill", { id: "x", signal: 65 }],
      ["stop", { id: "x", seconds: Number.NaN }],
      ["create", configOf("x", { name: "../x" })],
      ["create", configOf("x", { name: "" })],
      ["create", configOf("x", { argv: [] })],
      ["create", configOf("x", { cwd: "relative" })],
      ["create", configOf("x", { volumes: [{ source: "relative", target: "/", readOnly: false }] })],
      ["create", configOf("x", { ports: [{ hostAddress: "0.0.0.0", hostPort: 1, port: 0 }] })],
      ["create", null],
    ];
    for (const [method, params] of bad) await expect(service.handle(method, params, client), method).rejects.toThrow(/^\[invalid\]/u);
  });
  test("hello counts what runs", async () => {
    expect((await ask("hello", {})).running).toBe(0);
    await run();
    expect(await ask("hello", {})).toMatchObject({ running: 1, pid: process.pid });
  });
  test("a cVM that does not exist", async () => {
    const { code } = await failure(ask("start", { id: "missing" }));
    expect(code).toBe("not_found");
  });
});

describe("create and start", () => {
  test("what the runtime gets", async () => {
    const id = await run({
      argv: ["/bin/x", "-y"],
      env: ["PATH=/bin", "A=1", "A=2", "HOME=/h"],
      user: "redis:7",
      cwd: "/tmp",
      tty: true,
      columns: 80,
      rows: 24,
    });
    const { program, writable, layers } = runtime.last;
    expect(program).toEqual({
      argv: ["/bin/x", "-y"],
      env: ["HOSTNAME=one", "HOME=/h", "TERM=xterm", "PATH=/bin", "A=2"],
      cwd: "/tmp",
      user: { uid: 5, gid: 7 },
      tty: true,
      stdin: false,
      columns: 80,
      rows: 24,
    });
    expect(writable).toBe(`${cvmFolder(id)}/writable`);
    expect(layers.every((layer) => existsSync(`${layer}/metadata.json`))).toBe(true);
    expect(await stateOf(id)).toMatchObject({ status: "running", address: "10.0.0.1", statistics: { calls: 5 } });
    expect(loadStates(true)).toMatchObject([{ id, status: "running" }]);
  });
  test("names are unique until removed", async () => {
    const id = await create();
    const error = await failure(create());
    expect(error.code).toBe("conflict");
    expect(error.message).toContain(id.slice(0, 12));
    await ask("remove", { id, force: false });
    await create();
  });
  test("an image that does not exist leaves no record", async () => {
    expect((await failure(ask("create", configOf(`sha256:${"0".repeat(64)}`)))).code).toBe("not_found");
    expect(loadStates(true)).toEqual([]);
  });
  test("twice is a conflict, while it starts too", async () => {
    const id = await create();
    const first = ask("start", { id });
    expect((await failure(ask("start", { id }))).code).toBe("conflict");
    await first;
    expect((await failure(ask("start", { id }))).code).toBe("conflict");
    expect(runtime.cvms).toHaveLength(1);
  });
  test("a cVM that ended starts again, and what the former run still says is not heard", async () => {
    const id = await run();
    const former = runtime.last;
    former.events.report("the former's fault");
    former.events.exit(0, 3, 0);
    await ask("start", { id });
    client.heard.length = 0;
    former.events.exit(0, 1, 0);
    former.events.output(0, 1, Buffer.from("old"));
    expect(client.heard).toEqual([]);
    expect(await stateOf(id)).toMatchObject({ status: "running" });
    expect(await stateOf(id)).not.toHaveProperty("exitCode");
    await ask("kill", { id, signal: 9 });
    expect((await stateOf(id)).error).toBeUndefined();
  });
  test("a program that ends while it starts", async () => {
    runtime.onStart = (cvm) => {
      cvm.events.output(0, 1, Buffer.from("quick"));
      cvm.events.exit(0, 4, 0);
    };
    const id = await run();
    expect(client.heard).toEqual(["0/1:quick", "0 exit 4"]);
    expect(await stateOf(id)).toMatchObject({ status: "exited", exitCode: 4 });
    expect(runtime.last.destroyed).toBe(1);
    expect(service.running).toBe(0);
  });
});

describe("a start that fails", () => {
  test.each([
    [2, "no_program", 127],
    [13, "not_executable", 126],
    [8, "not_executable", 126],
    [12, undefined, 125],
    // Errors of Node have negative numbers: a port that may not be opened says nothing of the program.
    [-13, undefined, 125],
  ])("errno %d", async (number, code, exitCode) => {
    runtime.onStart = () => Promise.reject(errno(number));
    const id = await create();
    const error = await failure(ask("start", { id }));
    expect(error.code).toBe(code);
    expect(exitCodeOf(error)).toBe(exitCode);
    expect(await stateOf(id)).toMatchObject({ status: "exited", exitCode, error: error.message });
    expect(loadStates(true)).toMatchObject([{ exitCode }]);
    expect(service.running).toBe(0);
  });
  test("leaves nothing with --rm", async () => {
    runtime.onStart = () => Promise.reject(errno(2));
    const id = await create({ remove: true });
    await failure(ask("start", { id }));
    expect(readdirSync(Folder.cvms())).toEqual([]);
    expect((await ask("list", {})).cvms).toEqual([]);
  });
  test("by a user that the image does not have", async () => {
    const id = await create({ user: "nobody" });
    const error = await failure(ask("start", { id }));
    expect(error.message).toMatch(/^\[invalid\] .*"nobody"/u);
    expect(exitCodeOf(error)).toBe(125);
    expect(runtime.cvms).toEqual([]);
  });
  test("answers who waits", async () => {
    let fail: (error: Error) => void = () => {};
    runtime.onStart = () => new Promise((_, reject) => (fail = reject));
    const id = await create();
    const start = failure(ask("start", { id }));
    await expect.poll(() => runtime.cvms.length).toBe(1);
    const waiting = ask("wait", { id });
    fail(errno(2));
    await start;
    expect(await waiting).toEqual({ exitCode: 127 });
  });
  test("can be tried again", async () => {
    runtime.onStart = () => Promise.reject(errno(12));
    const id = await create();
    await failure(ask("start", { id }));
    runtime.onStart = () => undefined;
    await ask("start", { id });
    expect(await stateOf(id)).toMatchObject({ status: "running" });
    expect(await stateOf(id)).not.toHaveProperty("error");
  });
});

describe("output", () => {
  test("goes to who is attached and to the log, characters whole", async () => {
    const id = await run();
    const euro = Buffer.from("a€\n");
    runtime.last.events.output(0, 1, euro.subarray(0, 2));
    runtime.last.events.output(0, 1, euro.subarray(2));
    runtime.last.events.output(0, 2, Buffer.from("oh\n"));
    expect(client.heard).toHaveLength(3);
    expect(
      readLog(id)
        .map((line) => line.log)
        .join(""),
    ).toBe("a€\noh\n");
    expect(readLog(id).at(-1)).toMatchObject({ stream: "stderr" });
  });
  test("reports go to standard error and to the state when a signal ended the cVM", async () => {
    const id = await run();
    runtime.last.events.report("[fault] bounds");
    runtime.last.events.exit(0, 0, 11);
    expect(client.heard).toEqual(["report [fault] bounds", "0 exit 139"]);
    expect(await stateOf(id)).toMatchObject({ exitCode: 139, error: "[fault] bounds" });
    expect(readLog(id)).toMatchObject([{ log: "[fault] bounds\n", stream: "stderr" }]);
  });
  test("who went away hears nothing, and the cVM goes on", async () => {
    const id = await run();
    service.disconnected(client);
    runtime.last.events.output(0, 1, Buffer.from("x"));
    expect(client.heard).toEqual([]);
    expect((await stateOf(id)).status).toBe("running");
  });
  test("a log that cannot be written does not end the host", async () => {
    const id = await run({ remove: true });
    const { events } = runtime.last;
    await ask("remove", { id, force: true });
    expect(() => events.output(0, 1, Buffer.from("late"))).not.toThrow();
    expect(existsSync(`${Folder.cvms()}/${id}`)).toBe(false);
  });
});

describe("input", () => {
  test("that comes during the start is not lost, nor out of order", async () => {
    let go: (value?: unknown) => void = () => {};
    runtime.onStart = () => new Promise((resolve) => (go = resolve));
    const id = await create({ stdin: true });
    const start = ask("start", { id });
    const inputs = ["a", "b", ""].map((text) => ask("input", { id, console: 0, bytes: Buffer.from(text) }));
    await expect.poll(() => runtime.cvms.length).toBe(1);
    go();
    await Promise.all([start, ...inputs]);
    expect(runtime.last.input).toEqual(["a", "b", ""]);
  });
  test("to what does not run is a conflict", async () => {
    const id = await create();
    expect((await failure(ask("input", { id, console: 0, bytes: new Uint8Array() }))).code).toBe("conflict");
  });
});

describe("the end", () => {
  test.each([
    [0, 0, 0],
    [7, 0, 7],
    [0, 15, 143],
    [0, 11, 139],
  ])("exit %d, signal %d: %d", async (code, signal, expected) => {
    const id = await run();
    const waiting = [ask("wait", { id }), ask("wait", { id })];
    runtime.last.events.exit(0, code, signal);
    expect(await Promise.all(waiting)).toEqual([{ exitCode: expected }, { exitCode: expected }]);
    expect(client.heard).toEqual([`0 exit ${expected}`]);
    const state = await stateOf(id);
    expect(state).toMatchObject({ status: "exited", exitCode: expected });
    expect(state).not.toHaveProperty("address");
    expect(runtime.last.destroyed).toBe(1);
    expect(await ask("wait", { id })).toEqual({ exitCode: expected });
  });
  test("--rm leaves nothing when the command hears of the end", async () => {
    await run({ remove: true });
    let left: string[] | undefined;
    client.send = () => void (left = readdirSync(Folder.cvms()));
    runtime.last.events.exit(0, 0, 0);
    expect(left).toEqual([]);
    await sleep(1);
    expect(readdirSync(Folder.cvms())).toEqual([]);
    expect((await ask("list", {})).cvms).toEqual([]);
  });
  test("tells whoever counts what runs", async () => {
    const counts: number[] = [];
    service.onActivity = () => counts.push(service.running);
    await run();
    runtime.last.events.exit(0, 0, 0);
    expect([counts[0], counts.at(-1)]).toEqual([1, 0]);
  });
});

describe("stop, kill, remove", () => {
  test("stop sends SIGTERM, and waits for the end", async () => {
    const id = await run();
    runtime.onSignal = (cvm) => void setTimeout(() => cvm.events.exit(0, 0, 15), 5);
    await ask("stop", { id, seconds: 60 });
    expect(runtime.last.signals).toEqual([[0, 15]]);
    expect(await stateOf(id)).toMatchObject({ status: "exited", exitCode: 143 });
    expect(await ask("stop", { id, seconds: 60 })).toBeNull();
  });
  test("stop kills after its time", async () => {
    const id = await run();
    await ask("stop", { id, seconds: 0.02 });
    expect(await stateOf(id)).toMatchObject({ exitCode: 137 });
    expect(runtime.last.destroyed).toBe(1);
  });
  test("a long time is not none", async () => {
    const id = await run();
    const stopped = ask("stop", { id, seconds: 1e9 });
    await sleep(20);
    expect((await stateOf(id)).status).toBe("running");
    runtime.last.events.exit(0, 0, 0);
    await stopped;
  });
  test("the clock of a stop does not reach a later run", async () => {
    const id = await run();
    const stops = [ask("stop", { id, seconds: 0.03 }), ask("stop", { id, seconds: 0.03 })];
    await sleep(1);
    runtime.last.events.exit(0, 0, 0);
    await Promise.all(stops);
    await ask("start", { id });
    await sleep(60);
    expect((await stateOf(id)).status).toBe("running");
  });
  test("kill", async () => {
    const id = await run();
    await ask("kill", { id, signal: 10 });
    expect(runtime.last.signals).toEqual([[0, 10]]);
    await ask("kill", { id, signal: 9 });
    expect(await stateOf(id)).toMatchObject({ exitCode: 137 });
    expect((await failure(ask("kill", { id, signal: 9 }))).code).toBe("conflict");
  });
  test("remove refuses what runs unless forced, and leaves nothing", async () => {
    const id = await run();
    expect((await failure(ask("remove", { id, force: false }))).code).toBe("conflict");
    await ask("remove", { id, force: true });
    await sleep(1);
    expect(client.heard).toEqual(["0 exit 137"]);
    expect(readdirSync(Folder.cvms())).toEqual([]);
    expect((await failure(stateOf(id))).code).toBe("not_found");
  });
  test.each(["remove", "stop", "kill"] as const)("%s of what is just starting waits for it", async (what) => {
    let go: (value?: unknown) => void = () => {};
    runtime.onStart = () => new Promise((resolve) => (go = resolve));
    const id = await create();
    const start = ask("start", { id });
    await expect.poll(() => runtime.cvms.length).toBe(1);
    const done =
      what === "remove"
        ? ask("remove", { id, force: true })
        : what === "stop"
          ? ask("stop", { id, seconds: 0 })
          : ask("kill", { id, signal: 9 });
    if (what === "remove") expect((await failure(ask("remove", { id, force: false }))).code).toBe("conflict");
    go();
    await Promise.all([start, done]);
    await sleep(1);
    expect(runtime.last.destroyed).toBe(1);
    expect(service.running).toBe(0);
    expect(readdirSync(Folder.cvms())).toEqual(what === "remove" ? [] : [id]);
  });
  test("shutdown ends all", async () => {
    let down = false;
    service.onShutdown = () => (down = true);
    await run();
    await run({ name: "two", remove: true });
    await ask("shutdown", {});
    expect(down).toBe(true);
    expect(runtime.cvms.map((cvm) => cvm.destroyed)).toEqual([1, 1]);
    expect(loadStates(true)).toMatchObject([{ config: { name: "one" }, exitCode: 137 }]);
  });
});

describe("exec", () => {
  test("another program, with its own console, user and environment", async () => {
    const id = await run({ cwd: "/tmp" });
    const other = new Listener();
    const { console } = await ask("exec", { id, argv: ["sh"], env: ["B=1"], user: "redis", tty: false, stdin: true }, other);
    expect(runtime.last.execs).toMatchObject([
      [
        console,
        { argv: ["sh"], cwd: "/tmp", user: { uid: 5, gid: 6 }, stdin: true, env: ["HOSTNAME=one", "HOME=/data", "PATH=/bin", "B=1"] },
      ],
    ]);
    runtime.last.events.output(console, 1, Buffer.from("x"));
    runtime.last.events.exit(console, 3, 0);
    expect(other.heard).toEqual([`${console}/1:x`, `${console} exit 3`]);
    expect(client.heard).toEqual([]);
    expect(readLog(id)).toEqual([]);
    expect((await stateOf(id)).status).toBe("running");
    const second = await ask("exec", { id, argv: ["sh"], env: [], tty: false, stdin: false }, other);
    expect(second.console).not.toBe(console);
  });
  test.each([
    [2, 127],
    [13, 126],
    [12, 125],
  ])("errno %d", async (number, exitCode) => {
    const id = await run();
    runtime.onExec = () => Promise.reject(errno(number));
    const other = new Listener();
    expect(exitCodeOf(await failure(ask("exec", { id, argv: ["x"], env: [], tty: false, stdin: false }, other)))).toBe(exitCode);
    runtime.last.events.output(1, 1, Buffer.from("x"));
    expect(other.heard).toEqual([]);
  });
  test("in what does not run is a conflict", async () => {
    const id = await create();
    expect((await failure(ask("exec", { id, argv: ["x"], env: [], tty: false, stdin: false }))).code).toBe("conflict");
  });
  test("goes on when the image's name has moved and the image is gone", async () => {
    const id = await run();
    putImage("test", { ...image.config, created: "later" }, image.manifest.layers);
    removeImage("test");
    await ask("exec", { id, argv: ["x"], env: [], tty: false, stdin: false });
    expect(runtime.last.execs).toHaveLength(1);
  });
});

describe("restart policies", () => {
  const always = { restart: { name: "always", most: 0 } } as const;
  const onFailure = (most: number) => ({ restart: { name: "on-failure", most } }) as const;

  test("what ends is started again, and counts as running until then", async () => {
    const id = await run(always);
    runtime.last.events.exit(0, 0, 0);
    expect(await stateOf(id)).toMatchObject({ status: "restarting", exitCode: 0 });
    expect(loadStates(true)).toMatchObject([{ status: "restarting" }]);
    expect(service.running).toBe(1);
    await expect.poll(async () => (await stateOf(id)).status).toBe("running");
    expect(runtime.cvms).toHaveLength(2);
    expect(await stateOf(id)).toMatchObject({ restarts: 1 });
  });
  test("on-failure stops after its number, and at success", async () => {
    const id = await run(onFailure(2));
    runtime.onStart = (cvm) => cvm.events.exit(0, 3, 0);
    runtime.last.events.exit(0, 3, 0);
    await expect.poll(async () => (await stateOf(id)).status).toBe("exited");
    expect(await stateOf(id)).toMatchObject({ restarts: 2, exitCode: 3 });
    runtime.onStart = () => undefined;
    await ask("start", { id });
    runtime.last.events.exit(0, 0, 0);
    expect((await stateOf(id)).status).toBe("exited");
    expect(await stateOf(id)).not.toHaveProperty("restarts");
  });
  test("a restart that fails is tried again; a first start is not", async () => {
    runtime.onStart = () => Promise.reject(errno(12));
    const id = await create(always);
    await failure(ask("start", { id }));
    expect((await stateOf(id)).status).toBe("exited");
    runtime.onStart = () => (runtime.cvms.length === 3 ? Promise.reject(errno(12)) : undefined);
    await ask("start", { id });
    runtime.last.events.exit(0, 1, 0);
    await expect.poll(async () => (await stateOf(id)).status).toBe("running");
    expect(runtime.cvms).toHaveLength(4);
  });
  test("a stop and a kill by the user are the end, running or not", async () => {
    const id = await run(always);
    await ask("kill", { id, signal: 9 });
    expect(await stateOf(id)).toMatchObject({ status: "exited", stopped: true });
    await ask("start", { id });
    expect(await stateOf(id)).not.toHaveProperty("stopped");
    await ask("stop", { id, seconds: 0.01 });
    expect((await stateOf(id)).status).toBe("exited");
    await ask("start", { id });
    runtime.last.events.exit(0, 1, 0);
    await ask("stop", { id, seconds: 1 });
    expect(await stateOf(id)).toMatchObject({ status: "exited", stopped: true });
    const { length } = runtime.cvms;
    await sleep(150);
    expect(runtime.cvms).toHaveLength(length);
    expect(service.running).toBe(0);
  });
  test("one that waits for its restart is removed by force only, and does not come back", async () => {
    const id = await run(always);
    runtime.last.events.exit(0, 1, 0);
    expect((await failure(ask("remove", { id, force: false }))).code).toBe("conflict");
    await ask("remove", { id, force: true });
    await sleep(150);
    expect(runtime.cvms).toHaveLength(1);
    expect(readdirSync(Folder.cvms())).toEqual([]);
  });
  test("a new host starts what ran when the old one died, as the policies say", async () => {
    const started = new FakeRuntime();
    await run({ name: "no" });
    await run({ name: "always", ...always });
    await run({ name: "failing", ...onFailure(0) });
    const stopped = await run({ name: "stopped", restart: { name: "unless-stopped", most: 0 } });
    await ask("kill", { id: stopped, signal: 9 });
    await create({ name: "made", ...always });
    const next = new HostService(started);
    expect(started.cvms).toEqual([]);
    next.resume();
    await expect.poll(() => started.cvms.map(({ name }) => name)).toEqual(["always", "failing"]);
    const { cvms } = (await next.handle("list", {}, client)) as Results["list"];
    expect(cvms.map(({ config, status }) => [config.name, status])).toEqual([
      ["no", "exited"],
      ["always", "running"],
      ["failing", "running"],
      ["stopped", "exited"],
      ["made", "created"],
    ]);
  });
  test("after an orderly end what failed does not come back, the rest does", async () => {
    await run({ name: "always", ...always });
    await run({ name: "failing", ...onFailure(0) });
    await ask("shutdown", {});
    expect(loadStates(false).map(({ status }) => status)).toEqual(["exited", "exited"]);
    const started = new FakeRuntime();
    new HostService(started).resume();
    await expect.poll(() => started.cvms.map(({ name }) => name)).toEqual(["always"]);
  });
});

describe("after the host died", () => {
  test("what ran has ended, what was to be removed is gone", async () => {
    const kept = await run();
    await run({ name: "two", remove: true });
    await create({ name: "three", remove: true });
    const fresh = await create({ name: "four" });
    const next = new HostService(new FakeRuntime());
    const { cvms } = (await next.handle("list", {}, client)) as Results["list"];
    expect(cvms).toMatchObject([
      { id: kept, status: "exited", exitCode: 255 },
      { id: fresh, status: "created" },
    ]);
    expect(readdirSync(Folder.cvms()).sort()).toEqual([kept, fresh].sort());
    expect(loadStates(true)[0]?.status).toBe("exited");
    await next.handle("start", { id: kept }, client);
    expect(loadStates(true)[0]).toMatchObject({ status: "running" });
    expect(loadStates(true)[0]).not.toHaveProperty("error");
  });
  test("a record that cannot be read is no obstacle", () => {
    saveState({ id: "f".repeat(64), config: configOf(image.id), status: "running", created: "" });
    expect(() => new HostService(new FakeRuntime())).not.toThrow();
  });
});

describe("health", () => {
  const health = { argv: ["/check"], intervalMs: 20, timeoutMs: 5000, retries: 1, startPeriodMs: 0, startIntervalMs: 20 };
  /** Answers each check with the next code; the last one again and again. */
  const answer = (codes: number[]): void => {
    runtime.onExec = (cvm, console) => {
      const code = codes.length > 1 ? codes.shift()! : codes[0]!;
      setTimeout(() => {
        cvm.events.output(console, 1, Buffer.from("told"));
        cvm.events.exit(console, code, 0);
      }, 1);
    };
  };

  test("is waited for, stands in the state, and its output is nobody's", async () => {
    answer([0]);
    const id = await run({ health });
    expect((await stateOf(id)).health?.status).toBe("starting");
    expect(await ask("waitHealth", { id })).toEqual({ status: "healthy" });
    expect((await stateOf(id)).health).toEqual({ status: "healthy", failures: 0, last: { exitCode: 0, output: "told" } });
    expect(runtime.last.execs[0]![1].argv).toEqual(["/check"]);
    expect(client.heard.join("")).not.toContain("told");
    expect(readLog(id)).toEqual([]);
    await ask("remove", { id, force: true });
  });

  test("turns bad, and whoever asks hears it", async () => {
    answer([3]);
    const id = await run({ health });
    expect(await ask("waitHealth", { id })).toEqual({ status: "unhealthy" });
    await ask("remove", { id, force: true });
  });

  test("of one that ends before is not waited for; of one without a check neither", async () => {
    const id = await run({ health: { ...health, intervalMs: 60_000 } });
    const waited = ask("waitHealth", { id });
    runtime.last.events.exit(0, 1, 0);
    expect(await waited).toEqual({ status: "ended" });
    expect(await ask("waitHealth", { id })).toEqual({ status: "ended" });
    expect(await ask("waitHealth", { id: await run({ name: "two" }) })).toEqual({ status: "none" });
  });
});

test("a stop uses the signal and the time that the cVM was made with", async () => {
  const id = await run({ stopSignal: 3, stopSeconds: 0.02 });
  await ask("stop", { id });
  expect(runtime.last.signals).toEqual([[0, 3]]);
  expect((await stateOf(id)).exitCode).toBe(137);
});
