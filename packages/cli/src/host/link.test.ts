import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listenUnix, openPort } from "@cvm/net";
import type { Listener } from "@cvm/net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exitCodeOf } from "../errors.ts";
import { Folder } from "../home.ts";
import { makeScratchImage } from "../images/scratch.ts";
import { useTemporaryHome } from "../test-support/home.ts";
import { connectRunningHost, socketPath } from "./client.ts";
import { configOf, FakeRuntime } from "../test-support/runtime.ts";
import { hostProtocol } from "./link.ts";
import { acceptor } from "./server.ts";
import { HostService } from "./service.ts";

const home = useTemporaryHome();
let runtime: FakeRuntime;
let service: HostService;
let listener: Listener | undefined;
let imageId: string;
let visitors: number[];

beforeEach(async () => {
  imageId = (await makeScratchImage("test", [], {})).id;
  runtime = new FakeRuntime();
  service = new HostService(runtime);
  visitors = [];
  listener = undefined;
});
afterEach(async () => {
  await listener?.close();
});

async function listen(): Promise<void> {
  listener = await listenUnix(
    socketPath(),
    acceptor(Promise.resolve(service), (count) => visitors.push(count)),
  );
}

test("no host, a stale socket file and a file that is no socket are no connection", async () => {
  expect(await connectRunningHost()).toBeUndefined();
  writeFileSync(socketPath(), "");
  expect(await connectRunningHost()).toBeUndefined();
});

test("a command talks to the host over a private socket", async () => {
  await listen();
  expect(statSync(socketPath()).mode & 0o777).toBe(0o600);
  expect(statSync(Folder.run()).mode & 0o777).toBe(0o700);
  const host = (await connectRunningHost())!;
  const { id } = await host.request("create", configOf(imageId, { stdin: true }));
  const heard: unknown[] = [];
  const ended = new Promise((resolve) => {
    host.on("output", (data) => heard.push([data.fd, Buffer.from(data.bytes).toString()]));
    host.on("report", (data) => heard.push(data.text));
    host.on("exit", (data) => resolve(data.code));
  });
  await host.request("attach", { id, console: 0 });
  expect(await host.request("start", { id })).toEqual({ address: "10.0.0.1" });
  await host.request("input", { id, console: 0, bytes: Buffer.from("héllo") });
  expect(runtime.last.input).toEqual(["héllo"]);
  runtime.last.events.output(0, 2, Buffer.from([0x61, 0x62]));
  runtime.last.events.report("a fault");
  runtime.last.events.exit(0, 0, 11);
  expect(await ended).toBe(139);
  expect(heard).toEqual([[2, "ab"], "a fault"]);
  host.close();
  await expect.poll(() => visitors).toEqual([1, 0]);
});

test("errors keep their codes over the link", async () => {
  await listen();
  const host = (await connectRunningHost())!;
  const { id } = await host.request("create", configOf(imageId));
  runtime.onStart = () => Promise.reject(Object.assign(new Error("none"), { errno: 2 }));
  const error = await host.request("start", { id }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "no_program", message: expect.stringMatching(/^\[no_program\] "\/bin\/hello"/u) as string });
  expect(exitCodeOf(error)).toBe(127);
  await expect(host.request("stop", { id: "missing", seconds: 1 })).rejects.toMatchObject({ code: "not_found" });
  host.close();
});

test("a host that goes away is told, a command that closes is not", async () => {
  await listen();
  const [one, two] = [(await connectRunningHost())!, (await connectRunningHost())!];
  let quiet = true;
  two.onClose(() => (quiet = false));
  two.close();
  const gone = new Promise((resolve) => one.onClose(resolve));
  await listener!.close();
  expect(await gone).toEqual(expect.any(String));
  await expect(one.request("list", {})).rejects.toThrow();
  expect(quiet).toBe(true);
  expect(await connectRunningHost()).toBeUndefined();
});

test("a host that ends while a command greets it is no connection, one of another protocol an error", async () => {
  listener = await listenUnix(socketPath(), (transport) => {
    transport.start({ frame: () => {}, drained: () => {}, closed: () => {} });
    transport.close("closed", "idle");
  });
  expect(await connectRunningHost()).toBeUndefined();
  await listener.close();
  listener = await listenUnix(socketPath(), (transport) => void openPort(transport, { ...hostProtocol, name: "other" }, "server", {}));
  await expect(connectRunningHost()).rejects.toThrow(/^\[protocol\]/u);
});

test("a socket path that is too long is no connection", async () => {
  const long = join(home(), "x".repeat(120));
  mkdirSync(long);
  process.env["CVM_HOME"] = long;
  writeFileSync(socketPath(), "");
  expect(await connectRunningHost()).toBeUndefined();
});
