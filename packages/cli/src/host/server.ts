import { statSync } from "node:fs";
import { listenUnix, openPort } from "@cvm/net";
import type { Listener, Transport } from "@cvm/net";
import { messageOf } from "../errors.ts";
import { socketPath } from "./client.ts";
import { hostProtocol } from "./link.ts";
import { requestSchemas } from "./protocol.ts";
import type { Runtime } from "./runtime.ts";
import { HostService } from "./service.ts";
import type { Client } from "./service.ts";

/** A host that runs no cVM and has no visitors ends after this long. */
const IDLE_MS = 30_000;
/** Exit code when another host has the socket. */
const EXIT_ALREADY_RUNNING = 3;

/**
 * Serves the links of commands to a host.
 * @param started the service; a visitor may be quicker than its start: its requests wait
 * @param onVisitors called with the number of open links whenever it changes
 */
export function acceptor(started: Promise<HostService>, onVisitors: (count: number) => void): (transport: Transport) => void {
  let visitors = 0;
  return (transport) => {
    onVisitors(++visitors);
    const client: Client = {
      send: (event, data) => {
        try {
          port.emit(event, data);
        } catch (error) {
          // One command's broken link is no matter of the cVM that sends.
          port.close(messageOf(error));
        }
      },
    };
    const handlers = Object.fromEntries(
      Object.keys(requestSchemas).map((method) => [method, async (params: unknown) => (await started).handle(method, params, client)]),
    );
    const port = openPort(transport, hostProtocol, "server", handlers);
    void port.closed.then(async () => {
      onVisitors(--visitors);
      (await started).disconnected(client);
    });
  };
}

/** Runs a host until it is told to stop or has been idle: serves the unix socket. */
export async function runHost(): Promise<void> {
  const path = socketPath();
  let visitors = 0;
  let idle: NodeJS.Timeout | undefined;
  let service: HostService | undefined;
  let runtime: Runtime | undefined;
  const started = Promise.withResolvers<HostService>();
  const rest = (): void => {
    clearTimeout(idle);
    if (visitors === 0 && (service?.running ?? 0) === 0) idle = setTimeout(() => void end(), IDLE_MS);
  };
  let listener: Listener | undefined;
  const end = async (): Promise<void> => {
    clearTimeout(idle);
    // Closing removes the socket file; it must not be removed here, it may be the next host's by now.
    await listener?.close();
    await runtime?.close?.();
    process.exit(0);
  };
  try {
    listener = await listenUnix(
      path,
      acceptor(started.promise, (count) => {
        visitors = count;
        rest();
      }),
    );
  } catch (error) {
    if ((error as { code?: unknown }).code !== "in-use") throw error;
    process.exit(EXIT_ALREADY_RUNNING);
  }
  const own = statSync(path, { throwIfNoEntry: false })?.ino;
  let host: HostService;
  try {
    // Loaded only now: a second host must lose before it reserves an address space.
    const { createRuntime } = await import("./machine.ts");
    // Of two hosts that replace a stale socket at the same time, the one whose file is there stays.
    if (own === undefined || statSync(path, { throwIfNoEntry: false })?.ino !== own) process.exit(EXIT_ALREADY_RUNNING);
    runtime = createRuntime();
    host = new HostService(runtime);
  } catch (error) {
    // The socket would keep the process alive, and its visitors waiting.
    process.stderr.write(`cvm: the host cannot start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  }
  service = host;
  host.onActivity = rest;
  host.onShutdown = () => setImmediate(() => void end());
  started.resolve(host);
  host.resume();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void host.handle("shutdown", {}, { send: () => {} }));
  rest();
}
