/** What all sockets have in common. */
import type { Awaitable } from "@cvm/monitor/abi";
import { anonymousStat, BaseFile, nextAnonymousNumber, type IoctlResult } from "../files/open-file.ts";
import { O, S } from "../files/constants.ts";
import { E } from "../kernel/errno.ts";
import type { CallContext, OpenFile, Stat } from "../kernel/types.ts";
import type { WaitQueue } from "../kernel/wait.ts";
import { fromSixBytes, isLoopback, type Address } from "./address.ts";
import { AF, FIONREAD, IP, IPV6, SIGPIPE, SO, SOCK, SOL, TCP, TIOCOUTQ } from "./constants.ts";
import { interfaceIoctl } from "./interfaces.ts";
import type { CvmNetwork } from "./network.ts";
import { SocketOptions } from "./options.ts";

/** struct ucred. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** What goes beside the bytes of a message. */
export interface Ancillary {
  /** SCM_RIGHTS: each with a reference of its own. */
  readonly rights: readonly OpenFile[];
  readonly credentials: PeerCredentials;
  /** What a datagram is sent with: IPV6_HOPLIMIT or IP_TTL, IPV6_TCLASS or IP_TOS. */
  readonly hops?: number;
  readonly trafficClass?: number;
}

/** A control message that is received with a datagram. */
export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** What a receive call gives. */
export interface Received {
  readonly bytes: Uint8Array;
  /** Length of the whole message, also of what did not fit. */
  readonly length: number;
  /** Sender, where the family says it. */
  readonly name: Uint8Array | null;
  /** MSG_TRUNC, MSG_EOR. */
  readonly flags: number;
  readonly ancillary: Ancillary | null;
  readonly control?: readonly ControlMessage[];
}

export const EMPTY: Uint8Array = new Uint8Array(0);

/** int options as bytes. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

export abstract class SocketFile extends BaseFile {
  readonly kind = "socket";
  readonly number: number = nextAnonymousNumber();
  readonly domain: number;
  readonly type: number;
  readonly protocol: number;
  readonly options: SocketOptions;
  /** This queue alone, for blocking. */
  readonly queues: readonly WaitQueue[] = [this.waiters];
  /** Pending error (SO_ERROR), positive; 0 none. */
  error = 0;
  /** SO_LINGER: seconds, or -1 when off. */
  linger = -1;

  constructor(domain: number, type: number, protocol: number, flags: number, options?: SocketOptions) {
    super(O.RDWR | flags);
    this.domain = domain;
    this.type = type;
    this.protocol = protocol;
    this.options = new SocketOptions(domain, type, options);
  }
  get name(): string {
    return `socket:[${this.number}]`;
  }
  override stat(): Stat {
    return { ...anonymousStat(S.IFSOCK | 0o777, this.number), dev: 8 };
  }

  abstract bind(address: Uint8Array, context: CallContext): Awaitable<number>;
  /** 0, -EOPNOTSUPP, -EINVAL, -EADDRINUSE. */
  listen(_backlog: number, _context: CallContext): Awaitable<number> {
    return -E.OPNOTSUPP;
  }
  /** -EAGAIN when nobody waits; -EINVAL when not listening. */
  accept(_flags: number): SocketFile | number {
    return -E.OPNOTSUPP;
  }
  /** 0, -EINPROGRESS (see {@link connectOutcome}), or an error. */
  abstract connect(address: Uint8Array, context: CallContext): number;
  /** -EAGAIN while a connection is being made, then 0 or its error, once. */
  connectOutcome(): number {
    return 0;
  }
  /** Bytes taken, or an error. `name` and `ancillary` as given to sendmsg; flags of MSG. A stream may take less than all. */
  abstract send(data: Uint8Array, name: Uint8Array | null, ancillary: Ancillary | null, flags: number, context: CallContext): number;
  abstract receive(max: number, flags: number, context: CallContext): Received | number;
  abstract shutdown(how: number): number;
  abstract localAddress(): Uint8Array;
  /** -ENOTCONN. */
  abstract remoteAddress(): Uint8Array | number;
  /** Bytes that a read would find. */
  abstract available(): number;
  /** Whether listen was called (SO_ACCEPTCONN). */
  get listening(): boolean {
    return false;
  }
  /** AF_INET or AF_INET6. */
  get isInet(): boolean {
    return this.domain === AF.INET || this.domain === AF.INET6;
  }
  /** IPV6_V6ONLY. */
  get onlySix(): boolean {
    return this.domain === AF.INET6 && this.options.get(SOL.IPV6, IPV6.V6ONLY) === 1;
  }
  /** Whether received messages carry the credentials of their sender (SO_PASSCRED). */
  get passesCredentials(): boolean {
    return false;
  }
  /** SO_PEERCRED. */
  get peerCredentials(): PeerCredentials {
    return { pid: 0, uid: -1, gid: -1 };
  }

  /** The pending error, negative, which is then no more. */
  takeError(): number {
    const { error } = this;
    this.error = 0;
    return -error;
  }
  /** -EPIPE, with the signal unless the caller does without. */
  protected brokenPipe(noSignal: boolean, context: CallContext): number {
    if (!noSignal) context.kernel.signal(context.process, SIGPIPE, undefined, context.thread);
    return -E.PIPE;
  }

  override ioctl(request: number, _argument: number, input: Uint8Array | null, context: CallContext): IoctlResult {
    switch (request) {
      case FIONREAD:
        return this.listening ? -E.INVAL : { result: 0, output: int32(this.available()) };
      case TIOCOUTQ:
        return { result: 0, output: int32(0) };
      default:
        // Interfaces can be asked for by a socket of any family.
        return interfaceIoctl(context.kernel.network as CvmNetwork, request, input);
    }
  }

  /** getsockopt: the value, at most `capacity` bytes of it. -ENOPROTOOPT, -EOPNOTSUPP. */
  getOption(level: number, name: number, capacity: number): Uint8Array | number {
    const value = this.#option(level, name);
    return typeof value === "number" ? value : value.subarray(0, capacity);
  }
  #option(level: number, name: number): Uint8Array | number {
    if (level === SOL.SOCKET) {
      switch (name) {
        case SO.TYPE:
          return int32(this.type);
        case SO.DOMAIN:
          return int32(this.domain);
        case SO.PROTOCOL:
          return int32(this.protocol);
        case SO.ERROR:
          return int32(-this.takeError());
        case SO.ACCEPTCONN:
          return int32(this.listening ? 1 : 0);
        case SO.SNDLOWAT:
          return int32(1);
        case SO.LINGER: {
          const bytes = new Uint8Array(8);
          const view = new DataView(bytes.buffer);
          view.setInt32(0, this.linger >= 0 ? 1 : 0, true);
          view.setInt32(4, Math.max(0, this.linger), true);
          return bytes;
        }
        case SO.RCVTIMEO:
        case SO.RCVTIMEO_NEW:
          return timeval(this.readTimeout);
        case SO.SNDTIMEO:
        case SO.SNDTIMEO_NEW:
          return timeval(this.writeTimeout);
        case SO.PEERCRED: {
          const { pid, uid, gid } = this.peerCredentials;
          const bytes = new Uint8Array(12);
          const view = new DataView(bytes.buffer);
          view.setInt32(0, pid, true);
          view.setInt32(4, uid, true);
          view.setInt32(8, gid, true);
          return bytes;
        }
        case SO.PEERNAME:
          return this.remoteAddress();
        case SO.BINDTODEVICE:
          return EMPTY;
        case SO.BSDCOMPAT:
        case SO.INCOMING_NAPI_ID:
          return int32(0);
        case SO.COOKIE: {
          const bytes = new Uint8Array(8);
          new DataView(bytes.buffer).setBigUint64(0, BigInt(this.number), true);
          return bytes;
        }
        default:
      }
    }
    if (level === SOL.TCP && this.isInet && this.type === SOCK.STREAM) {
      if (name === TCP.CONGESTION) return Buffer.from("cubic\0\0\0\0\0\0\0\0\0\0\0");
      if (name === TCP.INFO) return this.tcpInfo();
    }
    // The size of packets on the way to the peer.
    if (level === SOL.IP && name === IP.MTU && this.isInet) {
      const peer = this.remoteAddress();
      if (typeof peer === "number") return peer;
      return int32(isLoopback(peerOf(peer)) ? 65536 : 1500);
    }
    const kept = this.options.get(level, name);
    // Of the options that are kept only SO_MAX_PACING_RATE and TCP_NOTSENT_LOWAT are -1: no error has that number there (EPERM).
    return kept < -1 ? kept : int32(kept);
  }
  /** struct tcp_info; most of it 0. */
  protected tcpInfo(): Uint8Array {
    return new Uint8Array(104);
  }

  /** setsockopt. -EINVAL (too short, out of range), -ENOPROTOOPT, -EOPNOTSUPP, -EDOM (time-outs). */
  setOption(level: number, name: number, value: Uint8Array): number {
    if (level === SOL.SOCKET) {
      if (name === SO.BINDTODEVICE) {
        const device = Buffer.from(value).toString("latin1").replace(/\0.*$/su, "");
        return ["", "lo", "eth0"].includes(device) ? 0 : -E.NODEV;
      }
      if (value.length < 4) return -E.INVAL;
      const view = new DataView(value.buffer, value.byteOffset, value.length);
      switch (name) {
        case SO.LINGER:
          if (value.length < 8) return -E.INVAL;
          this.linger = view.getInt32(0, true) === 0 ? -1 : view.getInt32(4, true);
          return 0;
        case SO.RCVTIMEO:
        case SO.RCVTIMEO_NEW:
        case SO.SNDTIMEO:
        case SO.SNDTIMEO_NEW: {
          if (value.length < 16) return -E.INVAL;
          const microseconds = view.getInt32(8, true);
          if (microseconds < 0 || microseconds >= 1_000_000) return -E.DOM;
          const seconds = Number(view.getBigInt64(0, true));
          const ms = seconds * 1000 + microseconds / 1000;
          // 0 means for ever; a negative time means not at all.
          const timeout = seconds < 0 ? 0 : ms === 0 ? undefined : ms;
          if (name === SO.RCVTIMEO || name === SO.RCVTIMEO_NEW) this.readTimeout = timeout;
          else this.writeTimeout = timeout;
          return 0;
        }
        case SO.BSDCOMPAT:
          return 0;
        case SO.COOKIE:
        case SO.INCOMING_NAPI_ID:
        case SO.TYPE:
        case SO.DOMAIN:
        case SO.PROTOCOL:
        case SO.ERROR:
        case SO.ACCEPTCONN:
        case SO.PEERCRED:
        case SO.SNDLOWAT:
          return -E.NOPROTOOPT;
        default:
          return this.options.set(level, name, view.getInt32(0, true));
      }
    }
    if (level === SOL.TCP && name === TCP.CONGESTION && this.isInet && this.type === SOCK.STREAM) {
      return ["cubic", "reno"].includes(Buffer.from(value).toString().replace(/\0.*$/su, "")) ? 0 : -E.NOENT;
    }
    if (level === SOL.IP && this.isInet && value.length >= 1 && value.length < 4) return this.options.set(level, name, value[0]!);
    if (value.length < 4) return this.options.get(level, name) < -1 ? this.options.get(level, name) : -E.INVAL;
    return this.options.set(level, name, new DataView(value.buffer, value.byteOffset).getInt32(0, true));
  }
}

/** The address in a sockaddr of IPv4 or IPv6. */
function peerOf(bytes: Uint8Array): Address {
  return bytes.length < 24
    ? fromSixBytes(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes.subarray(4, 8)), 0)
    : fromSixBytes(bytes, 8);
}

function timeval(ms: number | undefined): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  if (ms !== undefined) {
    view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
    view.setBigInt64(8, BigInt(Math.round((ms % 1000) * 1000)), true);
  }
  return bytes;
}
