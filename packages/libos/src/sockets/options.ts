/** Socket options that are only kept: what is set is what is read back. socket(7), tcp(7), ip(7). */
import { E } from "../kernel/errno.ts";
import { AF, IP, IPV6, SO, SOCK, SOL, TCP } from "./constants.ts";

const key = (level: number, name: number): number => level * 65536 + name;

/** Default of an option, whether it is a flag (0 or 1), and the range that may be set. */
interface Kept {
  readonly initial: number;
  readonly flag?: boolean;
  readonly min?: number;
  readonly max?: number;
  /** Setting this value brings the default back. */
  readonly preset?: number;
}

const socketOptions: Readonly<Record<number, Kept>> = {
  [SO.DEBUG]: { initial: 0, flag: true },
  [SO.REUSEADDR]: { initial: 0, flag: true },
  [SO.REUSEPORT]: { initial: 0, flag: true },
  [SO.DONTROUTE]: { initial: 0, flag: true },
  [SO.BROADCAST]: { initial: 0, flag: true },
  [SO.KEEPALIVE]: { initial: 0, flag: true },
  [SO.OOBINLINE]: { initial: 0, flag: true },
  [SO.NO_CHECK]: { initial: 0, flag: true },
  [SO.PASSCRED]: { initial: 0, flag: true },
  [SO.TIMESTAMP]: { initial: 0, flag: true },
  [SO.TIMESTAMPNS]: { initial: 0, flag: true },
  [SO.RXQ_OVFL]: { initial: 0, flag: true },
  [SO.NOFCS]: { initial: 0, flag: true },
  [SO.LOCK_FILTER]: { initial: 0, flag: true },
  [SO.SELECT_ERR_QUEUE]: { initial: 0, flag: true },
  [SO.PREFER_BUSY_POLL]: { initial: 0, flag: true },
  [SO.PRIORITY]: { initial: 0 },
  [SO.MARK]: { initial: 0 },
  [SO.RCVLOWAT]: { initial: 1 },
  [SO.BUSY_POLL]: { initial: 0 },
  [SO.INCOMING_CPU]: { initial: 0 },
  [SO.MAX_PACING_RATE]: { initial: -1 },
};

const tcpOptions: Readonly<Record<number, Kept>> = {
  [TCP.NODELAY]: { initial: 0, flag: true },
  [TCP.CORK]: { initial: 0, flag: true },
  [TCP.QUICKACK]: { initial: 1, flag: true },
  [TCP.FASTOPEN_CONNECT]: { initial: 0, flag: true },
  [TCP.MAXSEG]: { initial: 65483, min: 88, max: 32767 },
  [TCP.KEEPIDLE]: { initial: 7200, min: 1, max: 32767 },
  [TCP.KEEPINTVL]: { initial: 75, min: 1, max: 32767 },
  [TCP.KEEPCNT]: { initial: 9, min: 1, max: 127 },
  [TCP.SYNCNT]: { initial: 6, min: 1, max: 127 },
  [TCP.LINGER2]: { initial: 60 },
  [TCP.DEFER_ACCEPT]: { initial: 0 },
  [TCP.WINDOW_CLAMP]: { initial: 0 },
  [TCP.USER_TIMEOUT]: { initial: 0, min: 0 },
  [TCP.FASTOPEN]: { initial: 0, min: 0 },
  [TCP.NOTSENT_LOWAT]: { initial: -1 },
};

const ipOptions: Readonly<Record<number, Kept>> = {
  [IP.TOS]: { initial: 0 },
  [IP.TTL]: { initial: 64, min: -1, max: 255 },
  [IP.PKTINFO]: { initial: 0, flag: true },
  [IP.RECVOPTS]: { initial: 0, flag: true },
  [IP.RECVERR]: { initial: 0, flag: true },
  [IP.RECVTTL]: { initial: 0, flag: true },
  [IP.RECVTOS]: { initial: 0, flag: true },
  [IP.MTU_DISCOVER]: { initial: 1, min: 0, max: 5 },
  [IP.FREEBIND]: { initial: 0, flag: true },
  [IP.BIND_ADDRESS_NO_PORT]: { initial: 0, flag: true },
  [IP.RETOPTS]: { initial: 0, flag: true },
  [IP.PASSSEC]: { initial: 0, flag: true },
  [IP.TRANSPARENT]: { initial: 0, flag: true },
  [IP.RECVORIGDSTADDR]: { initial: 0, flag: true },
  [IP.MINTTL]: { initial: 0, min: 0, max: 255 },
  [IP.CHECKSUM]: { initial: 0, flag: true },
  [IP.MULTICAST_ALL]: { initial: 1, flag: true },
  [IP.MULTICAST_TTL]: { initial: 1, min: -1, max: 255 },
  [IP.MULTICAST_LOOP]: { initial: 1, flag: true },
};

const ipv6Options: Readonly<Record<number, Kept>> = {
  [IPV6.V6ONLY]: { initial: 0, flag: true },
  [IPV6.UNICAST_HOPS]: { initial: 64, min: -1, max: 255, preset: -1 },
  [IPV6.MULTICAST_HOPS]: { initial: 1, min: -1, max: 255, preset: -1 },
  [IPV6.MULTICAST_LOOP]: { initial: 1, flag: true },
  [IPV6.MULTICAST_IF]: { initial: 0, min: 0, max: 2 },
  [IPV6.MTU_DISCOVER]: { initial: 1, min: 0, max: 5 },
  [IPV6.RECVERR]: { initial: 0, flag: true },
  [IPV6.RECVPKTINFO]: { initial: 0, flag: true },
  [IPV6.RECVHOPLIMIT]: { initial: 0, flag: true },
  [IPV6.RECVHOPOPTS]: { initial: 0, flag: true },
  [IPV6.RECVRTHDR]: { initial: 0, flag: true },
  [IPV6.RECVDSTOPTS]: { initial: 0, flag: true },
  [IPV6.DONTFRAG]: { initial: 0, flag: true },
  [IPV6.RECVTCLASS]: { initial: 0, flag: true },
  [IPV6.TCLASS]: { initial: 0, min: -1, max: 255, preset: -1 },
  [IPV6.FREEBIND]: { initial: 0, flag: true },
};

/** net.core.wmem_max and rmem_max. */
const LARGEST_BUFFER = 212992;
const SMALLEST_SEND_BUFFER = 4608;
const SMALLEST_RECEIVE_BUFFER = 2304;

/** The options of one socket. Accepted sockets start with those of their listener. */
export class SocketOptions {
  readonly #values: Map<number, number>;
  readonly #domain: number;
  readonly #type: number;

  constructor(domain: number, type: number, from?: SocketOptions) {
    this.#domain = domain;
    this.#type = type;
    this.#values = new Map(from === undefined ? [] : from.#values);
  }

  /** How an option is kept; -EOPNOTSUPP and -ENOPROTOOPT for those that are not there. */
  #kept(level: number, name: number): Kept | number {
    if (level === SOL.SOCKET) return socketOptions[name] ?? -E.NOPROTOOPT;
    if (this.#domain === AF.UNIX) return -E.OPNOTSUPP;
    if (this.#domain !== AF.INET && this.#domain !== AF.INET6) return -E.NOPROTOOPT;
    if (level === SOL.IPV6 && this.#domain === AF.INET6) return ipv6Options[name] ?? -E.NOPROTOOPT;
    if (level === SOL.IP) return ipOptions[name] ?? -E.NOPROTOOPT;
    if (level === SOL.TCP && this.#type === SOCK.STREAM) return tcpOptions[name] ?? -E.NOPROTOOPT;
    return -E.NOPROTOOPT;
  }
  get(level: number, name: number): number {
    if (level === SOL.SOCKET && (name === SO.SNDBUF || name === SO.RCVBUF))
      return this.#values.get(key(level, name)) ?? this.#defaultBuffer(name);
    const kept = this.#kept(level, name);
    if (typeof kept === "number") return kept;
    return this.#values.get(key(level, name)) ?? kept.initial;
  }
  /** Whether a flag of SOL_SOCKET is on. */
  on(name: number): boolean {
    return this.#values.get(key(SOL.SOCKET, name)) === 1;
  }
  /** 0, -ENOPROTOOPT, -EOPNOTSUPP, -EINVAL (out of range). */
  set(level: number, name: number, value: number): number {
    if (level === SOL.SOCKET && (name === SO.SNDBUF || name === SO.SNDBUFFORCE))
      return this.#setBuffer(SO.SNDBUF, value, SMALLEST_SEND_BUFFER);
    if (level === SOL.SOCKET && (name === SO.RCVBUF || name === SO.RCVBUFFORCE))
      return this.#setBuffer(SO.RCVBUF, value, SMALLEST_RECEIVE_BUFFER);
    const kept = this.#kept(level, name);
    if (typeof kept === "number") return kept;
    if (kept.min !== undefined && value < kept.min) return -E.INVAL;
    if (kept.max !== undefined && value > kept.max) return -E.INVAL;
    const given = value === kept.preset ? kept.initial : value;
    this.#values.set(key(level, name), kept.flag === true ? (given === 0 ? 0 : 1) : given);
    return 0;
  }
  #defaultBuffer(name: number): number {
    if (this.#domain === AF.UNIX || this.#domain === AF.NETLINK || this.#type !== SOCK.STREAM) return LARGEST_BUFFER;
    return name === SO.SNDBUF ? 16384 : 131072;
  }
  /** Linux doubles what is asked for. */
  #setBuffer(name: number, value: number, least: number): number {
    this.#values.set(key(SOL.SOCKET, name), Math.max(least, Math.min(value >>> 0, LARGEST_BUFFER) * 2));
    return 0;
  }
}
