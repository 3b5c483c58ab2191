import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { afterAll, describe, it } from "vitest";
import { compliance } from "./compliance.ts";
import { memoryPair } from "./memory.ts";
import { messagePortTransport } from "./message-port.ts";
import type { LinkLimits, Transport } from "./transport.ts";
import type { Listener } from "./websocket.ts";
import { connectUnix, connectWebSocket, listenUnix, listenWebSocket } from "./websocket.ts";

const folder = mkdtempSync(join(tmpdir(), "cvm-net-"));
const listeners: Listener[] = [];
afterAll(async () => {
  await Promise.all(listeners.map((listener) => listener.close()));
  rmSync(folder, { recursive: true });
});

let number = 0;
const transports: Record<
  string,
  (limits?: Partial<LinkLimits>, rightLimits?: Partial<LinkLimits>) => Promise<readonly [Transport, Transport]>
> = {
  memory: async (limits, rightLimits) => memoryPair(limits, rightLimits),
  MessagePort: async (limits, rightLimits = limits) => {
    const { port1, port2 } = new MessageChannel();
    return [messagePortTransport(port1, limits), messagePortTransport(port2, rightLimits)];
  },
  WebSocket: async (limits, rightLimits = limits) => {
    const accepted = Promise.withResolvers<Transport>();
    const listener = await listenWebSocket({ port: 0 }, accepted.resolve, { limits: { ...rightLimits } });
    listeners.push(listener);
    const near = await connectWebSocket(`ws://127.0.0.1:${listener.port}/`, { limits: { ...limits } });
    return [near, await accepted.promise];
  },
  "unix socket": async (limits, rightLimits = limits) => {
    const path = join(folder, `${number++}.sock`);
    const accepted = Promise.withResolvers<Transport>();
    listeners.push(await listenUnix(path, accepted.resolve, { limits: { ...rightLimits } }));
    if ((statSync(path).mode & 0o777) !== 0o600) throw new Error("the socket is open to others");
    const near = await connectUnix(path, { limits: { ...limits } });
    return [near, await accepted.promise];
  },
};

for (const [name, pair] of Object.entries(transports)) {
  describe(name, () => {
    for (const one of compliance(pair)) it(one.name, () => one.run());
  });
}
