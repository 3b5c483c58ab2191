import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { serveEcho } from "./echo.ts";
import type { NetError } from "./errors.ts";
import type { Listener } from "./websocket.ts";
import { connectUnix, connectWebSocket, listenUnix, listenWebSocket } from "./websocket.ts";

const folder = mkdtempSync(join(tmpdir(), "cvm-net-"));
const listeners: Listener[] = [];
afterAll(async () => {
  await Promise.all(listeners.map((listener) => listener.close()));
  rmSync(folder, { recursive: true });
});

/** An echo server; the reasons why its links ended. */
async function echo(options: { token?: string } = {}): Promise<{ url: string; reasons: NetError[] }> {
  const reasons: NetError[] = [];
  const listener = await listenWebSocket(
    { port: 0 },
    (transport) => void serveEcho(transport).closed.then((reason) => reasons.push(reason)),
    options,
  );
  listeners.push(listener);
  return { url: `ws://127.0.0.1:${listener.port}/`, reasons };
}

async function rawClose(url: string, data: string | Uint8Array): Promise<{ code: number; reason: string }> {
  const socket = new WebSocket(url);
  return new Promise((resolve, reject) => {
    socket.on("open", () => socket.send(data));
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    socket.on("error", reject);
  });
}

it("closes links that send text, no MessagePack, or no array", async () => {
  const { url, reasons } = await echo();
  expect(await rawClose(url, "text")).toMatchObject({ code: 1002, reason: "a text frame arrived; frames are binary" });
  expect(await rawClose(url, new Uint8Array([0xc1]))).toMatchObject({ code: 1002 });
  expect(await rawClose(url, new Uint8Array([0x01]))).toMatchObject({ code: 1002 });
  expect(await rawClose(url, new Uint8Array(100_000).fill(0x91))).toMatchObject({ code: 1002 });
  await expect.poll(() => reasons.map((reason) => reason.code)).toEqual(["protocol", "protocol", "protocol", "protocol"]);
});

it("lets nobody in without the token, and no foreign origin", async () => {
  const { url } = await echo({ token: "secret" });
  await expect(connectWebSocket(url)).rejects.toMatchObject({ code: "refused" });
  await expect(connectWebSocket(url, { token: "secreT" })).rejects.toMatchObject({ code: "refused" });
  (await connectWebSocket(url, { token: "secret" })).close("closed", "done");
  const open = await echo();
  const status = await new Promise((resolve) =>
    new WebSocket(open.url, { headers: { origin: "https://example.com" } }).on("error", (error) => resolve(error.message)),
  );
  expect(status).toBe("Unexpected server response: 401");
});

it("survives bytes that are no HTTP and a connection that breaks", async () => {
  const { url, reasons } = await echo();
  const { port } = new URL(url);
  await new Promise((resolve) =>
    connect(Number(port))
      .on("close", resolve)
      .on("error", () => {})
      .on("data", () => {})
      .write("\0\xff not http\r\n\r\n"),
  );
  const socket = new WebSocket(url);
  await new Promise((resolve) => socket.on("open", resolve));
  socket.terminate();
  await expect.poll(() => reasons[0]?.code).toBe("lost");
});

it("replaces a stale unix socket and refuses a live one", async () => {
  const path = join(folder, "stale.sock");
  writeFileSync(path, "");
  listeners.push(await listenUnix(path, serveEcho));
  await expect(listenUnix(path, serveEcho)).rejects.toMatchObject({ code: "in-use" });
  (await connectUnix(path)).close("closed", "done");
  await expect(connectUnix(join(folder, "none.sock"))).rejects.toMatchObject({ code: "connect" });
  await expect(connectUnix(join(folder, "x".repeat(200)))).rejects.toMatchObject({ code: "connect" });
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(join(folder, "silent.sock"), resolve));
  await expect(connectUnix(join(folder, "silent.sock"), { limits: { connectMs: 30 } })).rejects.toMatchObject({ code: "connect" });
  silent.close();
});
