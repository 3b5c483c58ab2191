/** /proc/net, as far as programs read it: proc_pid_net(5). */
import { isAny, sixBytes, type Address } from "./address.ts";
import { AF } from "./constants.ts";
import { interfaces } from "./interfaces.ts";
import type { CvmNetwork } from "./network.ts";

/** One socket as /proc/net/tcp and udp show it. */
export interface SocketRow {
  readonly domain: number;
  readonly local: readonly [address: Address, port: number];
  readonly remote: readonly [address: Address, port: number];
  /** TCP_ESTABLISHED and so on. */
  readonly state: number;
  readonly received: number;
  readonly inode: number;
}

const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");
/** Words of the address in the processor's order. */
function addressText(address: Address, domain: number): string {
  if (isAny(address)) return "0".repeat(domain === AF.INET6 ? 32 : 8);
  const bytes = sixBytes(address);
  const words = domain === AF.INET6 ? [0, 4, 8, 12] : [12];
  const view = new DataView(bytes.buffer);
  return words.map((at) => hex(view.getUint32(at, true), 8)).join("");
}

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
function socketsText(rows: readonly SocketRow[], domain: number): string {
  const lines = rows
    .filter((row) => row.domain === domain)
    .map(({ local, remote, state, received, inode }, index) => {
      const pair = [local, remote].map(([address, port]) => `${addressText(address, domain)}:${hex(port, 4)}`).join(" ");
      return `${String(index).padStart(4)}: ${pair} ${hex(state, 2)} 00000000:${hex(received, 8)} 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
    });
  return `${[HEAD, ...lines].join("\n")}\n`;
}

function devText(network: CvmNetwork): string {
  const head =
    "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
  // Nothing counts packets: there are none.
  return (
    head +
    interfaces(network)
      .map(({ name }) => `${name.padStart(6)}: ${Array<number>(16).fill(0).join(" ")}\n`)
      .join("")
  );
}

function inet6Text(network: CvmNetwork): string {
  return interfaces(network)
    .map(({ six, index, sixPrefix, scope, name }) => {
      const address = Buffer.from(sixBytes(six)).toString("hex");
      // Scopes of IPv6: 0x10 for a host's own address.
      return `${address} ${hex(index, 2)} ${hex(sixPrefix, 2)} ${scope === 0 ? "00" : "10"} 80 ${name.padStart(8)}\n`;
    })
    .join("");
}

function routeText(network: CvmNetwork): string {
  const lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"];
  const word = (address: number): string => addressText(address, AF.INET);
  for (const { name, address, prefix, index } of interfaces(network)) {
    if (index === 1) continue;
    const mask = (0xffffffff << (32 - prefix)) >>> 0;
    const net = (address & mask) >>> 0;
    lines.push(`${name}\t${word(0)}\t${word(net + 1)}\t0003\t0\t0\t0\t${word(0)}\t0\t0\t0`);
    lines.push(`${name}\t${word(net)}\t${word(0)}\t0001\t0\t0\t0\t${word(mask)}\t0\t0\t0`);
  }
  return `${lines.join("\n")}\n`;
}

/** Text of each file. */
export const netFiles: Readonly<Record<string, (network: CvmNetwork) => string>> = {
  dev: devText,
  if_inet6: inet6Text,
  route: routeText,
  tcp: (network) => socketsText(network.streamRows(), AF.INET),
  tcp6: (network) => socketsText(network.streamRows(), AF.INET6),
  udp: (network) => socketsText(network.datagramRows(), AF.INET),
  udp6: (network) => socketsText(network.datagramRows(), AF.INET6),
};
