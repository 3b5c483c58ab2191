/** RVFI-DII over TCP: a machine for each connection. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { Session } from "./session.ts";
import { InjectionTarget, type TargetOptions } from "./target.ts";

export interface ServerOptions {
  /** Address to listen at; 127.0.0.1 unless given. */
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  readonly target?: TargetOptions;
  /** Connections at once, each with a machine; a further one is refused. 4 unless given. */
  readonly connections?: number;
  /** Milliseconds that a client may leave answers unread. 30,000 unless given. */
  readonly stall?: number;
  /** Gets a line when a connection begins, ends or is refused. */
  readonly log?: (line: string) => void;
}

export interface RvfiServer {
  readonly host: string;
  readonly port: number;
  /** Ends all connections and stops listening. */
  close(): Promise<void>;
}

const CONNECTIONS = 4;
const STALL = 30_000;
/** Bytes of commands done before others get their turn: about 10 ms. */
const SLICE = 4096;
/** Bytes of answers that may wait in the socket before no more are made. */
const HIGH_WATER = 1 << 20;
/** Milliseconds that the last answers of a connection may take. */
const LINGER = 1000;

/** Waits until the answers are on their way. */
async function drained(socket: Socket, stall: number): Promise<void> {
  if (socket.writableLength < HIGH_WATER) return;
  try {
    await once(socket, "drain", { signal: AbortSignal.timeout(stall) });
  } catch (cause) {
    if ((cause as Error).name !== "AbortError") throw cause;
    throw new Error(`[stalled] the client has read no answer for ${stall} ms`, { cause });
  }
}

/** One connection from its first command to its end. */
async function converse(socket: Socket, target: InjectionTarget, stall: number): Promise<number> {
  const session = new Session(target, (answer) => socket.write(answer));
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length; at += SLICE) {
      session.receive(chunk.subarray(at, at + SLICE));
      await drained(socket, stall);
      await setImmediate();
    }
  }
  session.end();
  return session.commands;
}

/** Sends what is waiting, then ends the connection whatever the client does. */
async function finish(socket: Socket): Promise<void> {
  if (!socket.destroyed && socket.writable) {
    socket.end();
    await once(socket, "finish", { signal: AbortSignal.timeout(LINGER) }).catch(() => undefined);
  }
  socket.destroy();
}

/** Listens. Rejects with the error of `listen` when it cannot. */
export async function serveRvfi(options: ServerOptions): Promise<RvfiServer> {
  const { log = () => undefined, connections = CONNECTIONS, stall = STALL } = options;
  const sockets = new Set<Socket>();
  /** Machines that are not in use: making one takes longer than resetting it. */
  const spare: InjectionTarget[] = [];

  const serve = async (socket: Socket, name: string): Promise<void> => {
    let target: InjectionTarget | undefined;
    try {
      target = spare.pop() ?? new InjectionTarget(options.target);
      log(`${name}: connected`);
      const commands = await converse(socket, target, stall);
      log(`${name}: ended after ${commands} commands`);
      spare.push(target);
    } catch (error) {
      // Without the machine: whatever a client did to it is gone with it.
      log(`${name}: ended: ${(error as Error).message}`);
    }
    await finish(socket);
  };

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const name = `${socket.remoteAddress ?? "?"}:${socket.remotePort ?? "?"}`;
    socket.setNoDelay(true);
    // Reading and writing report it too.
    socket.on("error", () => undefined);
    if (sockets.size >= connections) {
      log(`${name}: refused: ${connections} connections are open`);
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    void serve(socket, name);
  });
  server.listen({ host: options.host ?? "127.0.0.1", port: options.port });
  await once(server, "listening");
  server.on("error", (error) => log(`server: ${error.message}`));
  const { address, port } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
