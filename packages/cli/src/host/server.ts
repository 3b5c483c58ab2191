import { rmSync } from "node:fs";
import { listenUnix, openPort } from "@cvm/net";
import type { Listener } from "@cvm/net";
import { socketPath } from "./client.ts";
import { hostProtocol } from "./link.ts";
import { requestSchemas } from "./protocol.ts";
import { HostService } from "./service.ts";
import type { Client } from "./service.ts";

/** A host that runs no cVM and has no visitors ends after this long. */
const IDLE_MS = 30_000;
/** Exit code when another host has the socket. */
const EXIT_ALREADY_RUNNING = 3;

/** Runs a host until it is told to stop or has been idle: serves the unix socket. */
export async function runHost(): Promise<void> {
  const path = socketPath();
  let visitors = 0;
  let idle: NodeJS.Timeout | undefined;
  let service: HostService | undefined;
  // A visitor may be quicker than the start: its requests wait.
  const started = Promise.withResolvers<HostService>();
  const rest = (): void => {
    clearTimeout(idle);
    if (visitors === 0 && (service?.running ?? 0) === 0) idle = setTimeout(() => void end(), IDLE_MS);
  };
  let listener: Listener | undefined;
  const end = async (): Promise<void> => {
    clearTimeout(idle);
    await listener?.close();
    rmSync(path, { force: true });
    process.exit(0);
  };
  const accept = (transport: Parameters<Parameters<typeof listenUnix>[1]>[0]): void => {
    visitors++;
    rest();
    const client: Client = { send: (event, data) => void port.emit(event, data) };
    const handlers = Object.fromEntries(
      Object.keys(requestSchemas).map((method) => [
        method,
        async (params: unknown) => (await started.promise).handle(method, params, client),
      ]),
    );
    const port = openPort(transport, hostProtocol, "server", handlers);
    void port.closed.then(() => {
      visitors--;
      service?.disconnected(client);
      rest();
    });
  };
  try {
    listener = await listenUnix(path, accept);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "in-use") throw error;
    process.exit(EXIT_ALREADY_RUNNING);
  }
  // Loaded only now: a second host must lose before it reserves an address space.
  const { createRuntime } = await import("./machine.ts");
  service = new HostService(createRuntime());
  service.onActivity = rest;
  started.resolve(service);
  service.onShutdown = () => setImmediate(() => void end());
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void service!.handle("shutdown", {}, { send: () => {} }));
  rest();
}
