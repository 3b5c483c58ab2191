/** The two interfaces that each cVM shows: lo and eth0. netdevice(7). */
import type { IoctlResult } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { ANY, formatInet, LOOPBACK, LOOPBACK6, putAddress } from "./address.ts";
import type { CvmNetwork } from "./network.ts";

export interface Interface {
  readonly index: number;
  readonly name: string;
  /** IFF_* bits. */
  readonly flags: number;
  /** ARPHRD_*. */
  readonly type: number;
  readonly mtu: number;
  readonly address: number;
  /** Bits of the netmask. */
  readonly prefix: number;
  readonly broadcast: number;
  readonly six: string;
  /** Bits of the prefix of IPv6. */
  readonly sixPrefix: number;
  readonly hardware: Uint8Array;
  /** RT_SCOPE_*. */
  readonly scope: number;
}

const IFF = { UP: 1, BROADCAST: 2, LOOPBACK: 8, RUNNING: 0x40, MULTICAST: 0x1000, LOWER_UP: 0x10000 } as const;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const SCOPE_UNIVERSE = 0;
const SCOPE_HOST = 254;

/** The virtual network of cVMs is shown as one of 16 bits. */
const PREFIX = 16;

const maskOf = (prefix: number): number => (0xffffffff << (32 - prefix)) >>> 0;

export function interfaces({ address, six, isolated }: Pick<CvmNetwork, "address" | "six" | "isolated">): readonly Interface[] {
  const hardware = new Uint8Array(6);
  // Locally administered, and different for each address.
  hardware[0] = 0x02;
  hardware[1] = 0x42;
  putAddress(hardware, 2, address);
  const all: Interface[] = [
    {
      index: 1,
      name: "lo",
      flags: IFF.UP | IFF.LOOPBACK | IFF.RUNNING | IFF.LOWER_UP,
      type: ARPHRD_LOOPBACK,
      mtu: 65536,
      address: LOOPBACK,
      prefix: 8,
      broadcast: ANY,
      six: LOOPBACK6,
      sixPrefix: 128,
      hardware: new Uint8Array(6),
      scope: SCOPE_HOST,
    },
    {
      index: 2,
      name: "eth0",
      flags: IFF.UP | IFF.BROADCAST | IFF.RUNNING | IFF.MULTICAST | IFF.LOWER_UP,
      type: ARPHRD_ETHER,
      mtu: 1500,
      address,
      prefix: PREFIX,
      broadcast: (address | ~maskOf(PREFIX)) >>> 0,
      six,
      sixPrefix: 64,
      hardware,
      scope: SCOPE_UNIVERSE,
    },
  ];
  return isolated ? all.slice(0, 1) : all;
}

/** sizeof(struct ifreq), and where its union starts. */
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;
const GET = {
  NAME: 0x8910,
  FLAGS: 0x8913,
  ADDRESS: 0x8915,
  BROADCAST: 0x8919,
  NETMASK: 0x891b,
  METRIC: 0x891d,
  MTU: 0x8921,
  HARDWARE: 0x8927,
  INDEX: 0x8933,
  QUEUE: 0x8942,
} as const;

/** The SIOCGIF* requests. -EFAULT, -ENODEV (no such interface), -ENOTTY (another request). */
export function interfaceIoctl(network: CvmNetwork, request: number, input: Uint8Array | null): IoctlResult {
  if (!(Object.values(GET) as number[]).includes(request)) return -E.NOTTY;
  if (input === null || input.length < IFREQ_BYTES) return -E.FAULT;
  const output = input.slice(0, IFREQ_BYTES);
  const view = new DataView(output.buffer);
  const all = interfaces(network);
  if (request === GET.NAME) {
    const found = all.find((one) => one.index === view.getInt32(NAME_BYTES, true));
    if (found === undefined) return -E.NODEV;
    output.fill(0, 0, NAME_BYTES);
    output.set(Buffer.from(found.name));
    return { result: 0, output };
  }
  const end = output.indexOf(0);
  const name = Buffer.from(output.subarray(0, end < 0 || end > NAME_BYTES ? NAME_BYTES : end)).toString();
  const found = all.find((one) => one.name === name);
  if (found === undefined) return -E.NODEV;
  switch (request) {
    case GET.FLAGS:
      view.setUint16(NAME_BYTES, found.flags & 0xffff, true);
      break;
    case GET.ADDRESS:
      output.set(formatInet(found.address, 0), NAME_BYTES);
      break;
    case GET.BROADCAST:
      output.set(formatInet(found.broadcast, 0), NAME_BYTES);
      break;
    case GET.NETMASK:
      output.set(formatInet(maskOf(found.prefix), 0), NAME_BYTES);
      break;
    case GET.METRIC:
      view.setInt32(NAME_BYTES, 0, true);
      break;
    case GET.MTU:
      view.setInt32(NAME_BYTES, found.mtu, true);
      break;
    case GET.HARDWARE:
      view.setUint16(NAME_BYTES, found.type, true);
      output.set(found.hardware, NAME_BYTES + 2);
      break;
    case GET.INDEX:
      view.setInt32(NAME_BYTES, found.index, true);
      break;
    default:
      view.setInt32(NAME_BYTES, 1000, true);
  }
  return { result: 0, output };
}
