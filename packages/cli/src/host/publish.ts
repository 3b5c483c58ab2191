import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Monitor } from "@cvm/monitor";
import { Limits } from "@cvm/monitor/abi";
import { CliError } from "../errors.ts";
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
      carry(monitor, address, port.port, socket);
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

function carry(monitor: Monitor, address: string, port: number, socket: Socket): void {
  /** Bytes from the client that the cVM's window has no room for yet. */
  let waiting: Uint8Array[] = [];
  let clientDone = false;
  let over = false;

  const flush = (): void => {
    while (waiting.length > 0 && stream.window > 0) {
      const chunk = waiting[0]!;
      const part = chunk.length <= stream.window ? chunk : chunk.subarray(0, stream.window);
      stream.send(part);
      if (part.length === chunk.length) waiting.shift();
      else waiting[0] = chunk.subarray(part.length);
    }
    if (waiting.length > 0) socket.pause();
    else {
      if (clientDone) stream.shutdown();
      socket.resume();
    }
  };
  const end = (reset: boolean): void => {
    if (over) return;
    over = true;
    waiting = [];
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  };

  let connected = false;
  socket.pause();
  const stream = monitor.connectFromHost(
    address,
    port,
    {
      connected(error) {
        if (error !== 0) return end(true);
        connected = true;
        flush();
        return undefined;
      },
      received(bytes) {
        // Credit goes back when the socket has taken the bytes: a client that does not read stops the guest, not the host.
        if (over) return;
        if (socket.writableLength < Limits.streamWindow) {
          socket.write(bytes);
          stream.credit(bytes.length);
        } else socket.write(bytes, () => void (over || stream.credit(bytes.length)));
      },
      credited: () => flush(),
      ended: () => void socket.end(),
      reset: () => end(true),
    },
    socket.remotePort ?? 0,
  );
  socket.on("data", (chunk: Buffer) => {
    waiting.push(chunk);
    if (connected) flush();
  });
  socket.on("end", () => {
    clientDone = true;
    if (connected && waiting.length === 0) stream.shutdown();
  });
  socket.on("error", () => {});
  socket.on("close", (hadError) => {
    if (!stream.closed) stream.close(hadError || waiting.length > 0);
    end(false);
  });
}
