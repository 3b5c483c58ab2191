import { createSocket } from "node:dgram";
import { CliError } from "../../errors.ts";
import type { Publication } from "../publish.ts";
import type { PublishedPort } from "../protocol.ts";
import { IDLE_MS, Recent } from "./datagrams.ts";
import type { HostNetwork, Visitor } from "./uplink.ts";

/** Who may talk to one published port at once; a new one takes the place of the one who was heard least. */
const MOST_VISITORS = 1024;
const FIRST_PORT = 32768;
const PORTS = 28232;

/**
 * Takes datagrams for a port of a cVM on this machine. The cVM sees each sender at a port of the gateway, which is the sender's own when
 * it is free.
 * @throws CliError `conflict` when the port is in use, `failed` when it cannot be used
 */
export function publishDatagrams(network: HostNetwork, address: string, published: PublishedPort): Promise<Publication> {
  return new Promise((resolve, reject) => {
    const { hostAddress, hostPort, port } = published;
    const socket = createSocket({ type: hostAddress.includes(":") ? "udp6" : "udp4", ipv6Only: false });
    const visitors = new Recent<Visitor & { readonly port: number }>(MOST_VISITORS);
    let next = 0;
    socket.on("message", (bytes, from) => {
      const key = `${from.address} ${from.port}`;
      let visitor = visitors.get(key);
      if (visitor === undefined) {
        let own = from.port;
        const added: Visitor & { readonly port: number } = {
          used: 0,
          get port() {
            return own;
          },
          reply: (answer) => {
            if (socket.getSendQueueSize() < 1024 * 1024) socket.send(answer, from.port, from.address, () => {});
          },
          close: () => network.leaveVisit(address, own, port),
        };
        let tries = 0;
        while (!network.visit(address, own, port, added)) {
          if (++tries > PORTS) return;
          own = FIRST_PORT + (next++ % PORTS);
        }
        visitors.add(key, added);
        visitor = added;
      }
      visitor.used = performance.now();
      network.deliver(address, visitor.port, port, bytes);
    });
    const sweeper = setInterval(() => visitors.sweep(performance.now() - IDLE_MS), IDLE_MS / 4).unref();
    const failed = (error: NodeJS.ErrnoException): void => {
      clearInterval(sweeper);
      socket.close();
      const where = `${hostAddress}:${hostPort}/udp`;
      if (error.code === "EADDRINUSE")
        reject(new CliError("conflict", `port ${where} is in use by another program: choose another host port`, { cause: error }));
      else reject(new CliError("failed", `port ${where} cannot be used: ${error.message}`, { cause: error }));
    };
    socket.once("error", failed);
    socket.bind({ address: hostAddress, port: hostPort, exclusive: true }, () => {
      socket.off("error", failed);
      // What a reply meets is nobody's to know.
      socket.on("error", () => {});
      resolve({
        hostPort: socket.address().port,
        close() {
          clearInterval(sweeper);
          visitors.clear();
          socket.close();
        },
      });
    });
  });
}
