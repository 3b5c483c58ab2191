import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Monitor } from "@cvm/monitor";
import { CliError } from "../errors.ts";
import { carry } from "./network/carry.ts";
import type { PublishedPort } from "./protocol.ts";

/** A port of this machine that leads into a cVM. */
export interface Publication {
  /** The port that was taken, when any free one was asked for. */
  readonly hostPort: number;
  close(): void;
}

/**
 * Listens on this machine and carries each connection to a cVM's port, with the back-pressure of both sides.
 * @throws CliError `conflict` when the port is in use, `failed` when it cannot be listened on.
 */
export function publish(monitor: Monitor, address: string, port: PublishedPort): Promise<Publication> {
  return new Promise((resolve, reject) => {
    const sockets = new Set<Socket>();
    // Half-open: the guest may still answer after the client has sent its last byte.
    const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      carry(socket, false, (events) => monitor.connectFromHost(address, port.port, events, socket.remotePort ?? 0));
    });
    server.on("error", (error: NodeJS.ErrnoException) => {
      const where = `${port.hostAddress}:${port.hostPort}`;
      if (error.code === "EADDRINUSE")
        reject(new CliError("conflict", `port ${where} is in use by another program: choose another host port`, { cause: error }));
      else reject(new CliError("failed", `port ${where} cannot be listened on: ${error.message}`, { cause: error }));
    });
    server.listen({ host: port.hostAddress, port: port.hostPort, backlog: 511 }, () => {
      const bound = server.address();
      resolve({
        hostPort: typeof bound === "object" && bound !== null ? bound.port : port.hostPort,
        close() {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    });
  });
}
