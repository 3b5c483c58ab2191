/** System calls on sockets. */
import { PENDING, type Awaitable, type MessageIn, type MessageOut, type OutValue } from "@cvm/monitor/abi";
import { O } from "../files/constants.ts";
import { release } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { isPromise } from "../kernel/ready.ts";
import type { CallContext, Syscall, SyscallOutcome, SyscallReply, SyscallValue } from "../kernel/types.ts";
import { SOCKADDR_MAX } from "../sockets/address.ts";
import { AF, IPPROTO, MSG, SOCK, SOL } from "../sockets/constants.ts";
import { dropRights, messageResult, parseControl } from "../sockets/control.ts";
import { NetlinkSocket } from "../sockets/netlink.ts";
import type { CvmNetwork } from "../sockets/network.ts";
import { EMPTY, SocketFile, type Ancillary, type Received } from "../sockets/socket.ts";
import { TcpSocket } from "../sockets/tcp.ts";
import { UdpSocket } from "../sockets/udp.ts";
import { UnixSocket } from "../sockets/unix.ts";
import { sourceLater } from "./files/transfer.ts";
import { call, fd, FULL, input, int, maybeInput, output, partial, ulong } from "./define.ts";
import { receiveMany, sendMany } from "./socket-vectors.ts";

const messageFlags = {
  flags: {
    MSG_OOB: MSG.OOB,
    MSG_PEEK: MSG.PEEK,
    MSG_DONTWAIT: MSG.DONTWAIT,
    MSG_WAITALL: MSG.WAITALL,
    MSG_TRUNC: MSG.TRUNC,
    MSG_NOSIGNAL: MSG.NOSIGNAL,
    MSG_MORE: MSG.MORE,
    MSG_CMSG_CLOEXEC: MSG.CMSG_CLOEXEC,
  },
};
const domains = { values: { AF_UNSPEC: AF.UNSPEC, AF_UNIX: AF.UNIX, AF_INET: AF.INET, AF_INET6: AF.INET6, AF_NETLINK: AF.NETLINK } };
const types = { flags: { SOCK_CLOEXEC: SOCK.CLOEXEC, SOCK_NONBLOCK: SOCK.NONBLOCK } };
const levels = { values: { SOL_IP: SOL.IP, SOL_SOCKET: SOL.SOCKET, SOL_TCP: SOL.TCP, SOL_UDP: SOL.UDP, SOL_IPV6: SOL.IPV6 } };
const shutdowns = { values: { SHUT_RD: 0, SHUT_WR: 1, SHUT_RDWR: 2 } };

const networkOf = (context: CallContext): CvmNetwork => context.kernel.network as CvmNetwork;

/** The socket of a number: -EBADF, -ENOTSOCK. */
function socketOf(context: CallContext, number: SyscallValue | undefined): SocketFile | number {
  const file = context.process.fds.get(number as number);
  if (file === undefined) return -E.BADF;
  return file instanceof SocketFile ? file : -E.NOTSOCK;
}
const waits = (socket: SocketFile, flags: number): boolean => (socket.flags & O.NONBLOCK) === 0 && (flags & MSG.DONTWAIT) === 0;

/** A new descriptor, or -EMFILE. */
function install(context: CallContext, socket: SocketFile, flags: number): number {
  const number = context.process.fds.add(socket, (flags & SOCK.CLOEXEC) !== 0);
  if (number < 0) release(socket);
  return number;
}

/** The answer to a call whose result may come later. */
function later(context: CallContext, result: Awaitable<number>): SyscallOutcome {
  if (!isPromise(result)) return result;
  const { kernel, thread } = context;
  void result.then((value) => kernel.answer(thread, value));
  return PENDING;
}

/** A socket of a family: -EINVAL, -EAFNOSUPPORT, -EPROTONOSUPPORT, -ESOCKTNOSUPPORT, -EPERM (raw). */
function create(context: CallContext, domain: number, typeAndFlags: number, protocol: number): SocketFile | number {
  const type = typeAndFlags & SOCK.TYPE_MASK;
  if ((typeAndFlags & ~(SOCK.TYPE_MASK | SOCK.CLOEXEC | SOCK.NONBLOCK)) !== 0) return -E.INVAL;
  const flags = typeAndFlags & SOCK.NONBLOCK;
  switch (domain) {
    case AF.INET:
    case AF.INET6:
      if (type === SOCK.STREAM)
        return protocol === IPPROTO.IP || protocol === IPPROTO.TCP ? new TcpSocket(networkOf(context), flags, domain) : -E.PROTONOSUPPORT;
      if (type === SOCK.DGRAM) {
        const known = protocol === IPPROTO.IP || protocol === IPPROTO.UDP || protocol === IPPROTO.UDPLITE;
        return known ? new UdpSocket(networkOf(context), flags, domain, protocol || IPPROTO.UDP) : -E.PROTONOSUPPORT;
      }
      return type === SOCK.RAW ? -E.PERM : -E.SOCKTNOSUPPORT;
    case AF.UNIX:
      if (protocol !== 0 && protocol !== AF.UNIX) return -E.PROTONOSUPPORT;
      if (type === SOCK.STREAM || type === SOCK.DGRAM || type === SOCK.SEQPACKET) return new UnixSocket(networkOf(context), type, flags);
      return type === SOCK.RAW ? new UnixSocket(networkOf(context), SOCK.DGRAM, flags) : -E.SOCKTNOSUPPORT;
    case AF.NETLINK:
      if (type !== SOCK.RAW && type !== SOCK.DGRAM) return -E.SOCKTNOSUPPORT;
      return protocol === 0 ? new NetlinkSocket(networkOf(context), type, flags) : -E.PROTONOSUPPORT;
    default:
      return -E.AFNOSUPPORT;
  }
}

function pair(context: CallContext, domain: number, typeAndFlags: number, protocol: number): SyscallOutcome {
  const type = typeAndFlags & SOCK.TYPE_MASK;
  if (domain !== AF.UNIX) {
    const probe = create(context, domain, typeAndFlags, protocol);
    if (typeof probe === "number") return probe;
    release(probe);
    return -E.OPNOTSUPP;
  }
  if ((typeAndFlags & ~(SOCK.TYPE_MASK | SOCK.CLOEXEC | SOCK.NONBLOCK)) !== 0) return -E.INVAL;
  if (protocol !== 0 && protocol !== AF.UNIX) return -E.PROTONOSUPPORT;
  if (type !== SOCK.STREAM && type !== SOCK.DGRAM && type !== SOCK.SEQPACKET) return -E.SOCKTNOSUPPORT;
  const [left, right] = UnixSocket.pair(networkOf(context), type, typeAndFlags & SOCK.NONBLOCK, context);
  const first = install(context, left, typeAndFlags);
  if (first < 0) {
    release(right);
    return first;
  }
  const second = install(context, right, typeAndFlags);
  if (second < 0) {
    context.process.fds.close(first);
    return second;
  }
  const value = new Uint8Array(8);
  const view = new DataView(value.buffer);
  view.setInt32(0, first, true);
  view.setInt32(4, second, true);
  return { result: 0, out: [{ arg: 3, value }] };
}

function accept(context: CallContext, number: number, wantsAddress: boolean, flags: number): SyscallOutcome {
  if ((flags & ~(SOCK.CLOEXEC | SOCK.NONBLOCK)) !== 0) return -E.INVAL;
  const listener = socketOf(context, number);
  if (typeof listener === "number") return listener;
  const attempt = (): number | SyscallReply => {
    const socket = listener.accept(flags & SOCK.NONBLOCK);
    if (typeof socket === "number") return socket;
    const address = wantsAddress ? socket.remoteAddress() : EMPTY;
    const result = install(context, socket, flags);
    if (result < 0 || !wantsAddress) return result;
    // A peer that is gone already has no address left.
    return { result, out: [{ arg: 1, value: typeof address === "number" ? EMPTY : address }] };
  };
  const first = attempt();
  if (first !== -E.AGAIN || !waits(listener, 0)) return first;
  return context.kernel.block(context, listener.queues, attempt, listener.readTimeout ?? Infinity, -E.AGAIN, true);
}

function connect(context: CallContext, number: number, address: Uint8Array): SyscallOutcome {
  const socket = socketOf(context, number);
  if (typeof socket === "number") return socket;
  if (address.length > SOCKADDR_MAX || address.length < 2) return -E.INVAL;
  const first = socket.connect(address, context);
  if (!waits(socket, 0)) return first;
  const timeout = socket.writeTimeout ?? Infinity;
  if (socket instanceof UnixSocket && first === -E.AGAIN) {
    const kept = address.slice();
    return context.kernel.block(context, socket.queues, () => socket.connect(kept, context), timeout, -E.AGAIN, true);
  }
  // EALREADY: a signal interrupted the wait, and the call is made again.
  if (first !== -E.INPROGRESS && first !== -E.ALREADY) return first;
  const now = socket.connectOutcome();
  if (now !== -E.AGAIN) return now;
  return context.kernel.block(context, socket.queues, () => socket.connectOutcome(), timeout, -E.INPROGRESS, true);
}

/** Sends a message or bytes of a stream; waits for room when the caller does. `ancillary` is given up. */
export function send(
  context: CallContext,
  socket: SocketFile,
  data: Uint8Array,
  name: Uint8Array | null,
  ancillary: Ancillary | null,
  flags: number,
): SyscallOutcome {
  const first = socket.send(data, name, ancillary, flags, context);
  if (first >= data.length) return first;
  if ((first < 0 && first !== -E.AGAIN) || !waits(socket, flags)) {
    if (first < 0) dropRights(ancillary);
    return first;
  }
  // Part of a stream went, or nothing: the caller waits until all is gone.
  let sent = Math.max(0, first);
  let beside = sent > 0 ? null : ancillary;
  let source = (from: number): Uint8Array | null => data.subarray(from);
  const to = name === null ? null : name.slice();
  const retry = (): number => {
    const rest = source(sent);
    const result = rest === null ? -E.FAULT : socket.send(rest, to, beside, flags, context);
    if (result === -E.AGAIN) return result;
    if (result < 0) {
      dropRights(beside);
      return sent > 0 ? sent : result;
    }
    beside = null;
    sent += result;
    return sent < data.length ? -E.AGAIN : sent;
  };
  const given = (error: number) => (): number => {
    dropRights(beside);
    return sent > 0 ? sent : error;
  };
  // Who waited for bytes may have taken them while it was told: nobody would wake this call for the room that there is.
  const second = first > 0 ? retry() : first;
  if (second !== -E.AGAIN) return second;
  source = sourceLater(context, data, sent);
  return context.kernel.block(context, socket.queues, retry, socket.writeTimeout ?? Infinity, given(-E.AGAIN), true, given(-E.INTR));
}

/** Receives; waits for data when the caller does. `reply` makes the answer of what came. */
export function receive(
  context: CallContext,
  socket: SocketFile,
  max: number,
  flags: number,
  reply: (received: Received) => number | SyscallReply,
): SyscallOutcome {
  if ((flags & MSG.WAITALL) !== 0 && (flags & MSG.PEEK) === 0 && socket.type === SOCK.STREAM && waits(socket, flags))
    return receiveAll(context, socket, max, flags, reply);
  let caller = context;
  const attempt = (): number | SyscallReply => {
    const received = socket.receive(max, flags, caller);
    return typeof received === "number" ? received : reply(received);
  };
  const first = attempt();
  if (first !== -E.AGAIN || !waits(socket, flags)) return first;
  const { kernel, process, thread } = context;
  caller = { kernel, process, thread, registers: undefined, atOnce: true };
  return context.kernel.block(context, socket.queues, attempt, socket.readTimeout ?? Infinity, -E.AGAIN, true);
}

/** MSG_WAITALL on a stream: until `max` bytes are there, the end, an error or a signal. */
function receiveAll(
  context: CallContext,
  socket: SocketFile,
  max: number,
  flags: number,
  reply: (received: Received) => number | SyscallReply,
): SyscallOutcome {
  const parts: Uint8Array[] = [];
  let length = 0;
  let ancillary: Ancillary | null = null;
  const answer = (): number | SyscallReply =>
    reply({ bytes: parts.length === 1 ? parts[0]! : Buffer.concat(parts), length, name: null, flags: 0, ancillary });
  const attempt = (): number | SyscallReply => {
    while (length < max || parts.length === 0) {
      const received = socket.receive(max - length, flags, context);
      if (received === -E.AGAIN) return -E.AGAIN;
      if (typeof received === "number") return length > 0 ? answer() : received;
      if (received.bytes.length === 0) return answer();
      parts.push(received.bytes);
      length += received.bytes.length;
      if (ancillary === null) ancillary = received.ancillary;
      else dropRights(received.ancillary);
    }
    return answer();
  };
  const first = attempt();
  if (first !== -E.AGAIN) return first;
  const given = (error: number) => (): number | SyscallReply => (length > 0 ? answer() : error);
  return context.kernel.block(context, socket.queues, attempt, socket.readTimeout ?? Infinity, given(-E.AGAIN), true, given(-E.INTR));
}

function receiveFrom(context: CallContext, number: number, max: number, flags: number, wantsAddress: boolean): SyscallOutcome {
  const socket = socketOf(context, number);
  if (typeof socket === "number") return socket;
  return receive(context, socket, max, flags, (received) => {
    dropRights(received.ancillary);
    const out: OutValue[] = [{ arg: 1, value: received.bytes }];
    if (wantsAddress) out.push({ arg: 4, value: received.name ?? EMPTY });
    return { result: (flags & MSG.TRUNC) !== 0 ? received.length : received.bytes.length, out };
  });
}

const addressOut = (name: string): Syscall["arguments"][number] => ({ name, kind: "addressOut", nullable: true });
const addressLength = (name: string): Syscall["arguments"][number] => ({ name, kind: "addressLength", nullable: true });

export const socketSyscalls: readonly Syscall[] = [
  call(
    198,
    "socket",
    [int("family", domains), int("type", types), int("protocol")],
    partial("AF_UNIX, AF_INET and AF_INET6 stream and datagram, AF_NETLINK route; no raw sockets"),
    (context, args) => {
      const type = args[1] as number;
      const socket = create(context, args[0] as number, type, args[2] as number);
      return typeof socket === "number" ? socket : install(context, socket, type);
    },
  ),
  call(199, "socketpair", [int("family", domains), int("type", types), int("protocol"), output("usockvec", 8)], FULL, (context, args) =>
    pair(context, args[0] as number, args[1] as number, args[2] as number),
  ),
  call(200, "bind", [fd("fd"), input("umyaddr", { arg: "addrlen" }), int("addrlen")], FULL, (context, args) => {
    const socket = socketOf(context, args[0]);
    if (typeof socket === "number") return socket;
    const address = args[1] as Uint8Array;
    return address.length > SOCKADDR_MAX || address.length < 2 ? -E.INVAL : later(context, socket.bind(address, context));
  }),
  call(201, "listen", [fd("fd"), int("backlog")], FULL, (context, args) => {
    const socket = socketOf(context, args[0]);
    return typeof socket === "number" ? socket : later(context, socket.listen(args[1] as number, context));
  }),
  call(202, "accept", [fd("fd"), addressOut("upeer_sockaddr"), addressLength("upeer_addrlen")], FULL, (context, args) =>
    accept(context, args[0] as number, args[1] !== null, 0),
  ),
  call(203, "connect", [fd("fd"), input("uservaddr", { arg: "addrlen" }), int("addrlen")], FULL, (context, args) =>
    connect(context, args[0] as number, args[1] as Uint8Array),
  ),
  call(204, "getsockname", [fd("fd"), addressOut("usockaddr"), addressLength("usockaddr_len")], FULL, (context, args) => {
    const socket = socketOf(context, args[0]);
    if (typeof socket === "number") return socket;
    return args[1] === null ? -E.FAULT : { result: 0, out: [{ arg: 1, value: socket.localAddress() }] };
  }),
  call(205, "getpeername", [fd("fd"), addressOut("usockaddr"), addressLength("usockaddr_len")], FULL, (context, args) => {
    const socket = socketOf(context, args[0]);
    if (typeof socket === "number") return socket;
    const address = socket.remoteAddress();
    if (typeof address === "number") return address;
    return args[1] === null ? -E.FAULT : { result: 0, out: [{ arg: 1, value: address }] };
  }),
  call(
    206,
    "sendto",
    [
      fd("fd"),
      input("buff", { arg: "len" }),
      ulong("len"),
      int("flags", messageFlags),
      maybeInput("addr", { arg: "addr_len" }),
      int("addr_len"),
    ],
    FULL,
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      const name = args[4] as Uint8Array | null;
      if (name !== null && name.length > SOCKADDR_MAX) return -E.INVAL;
      return send(context, socket, args[1] as Uint8Array, name !== null && name.length === 0 ? null : name, null, args[3] as number);
    },
  ),
  call(
    207,
    "recvfrom",
    [fd("fd"), output("ubuf", { arg: "size" }), ulong("size"), int("flags", messageFlags), addressOut("addr"), addressLength("addr_len")],
    FULL,
    (context, args) => receiveFrom(context, args[0] as number, args[1] as number, args[3] as number, args[4] !== null),
  ),
  call(
    208,
    "setsockopt",
    [fd("fd"), int("level", levels), int("optname"), maybeInput("optval", { arg: "optlen" }), int("optlen")],
    partial("options that change how data travels are kept and have no effect"),
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      if ((args[4] as number) < 0) return -E.INVAL;
      return socket.setOption(args[1] as number, args[2] as number, (args[3] as Uint8Array | null) ?? EMPTY);
    },
  ),
  call(
    209,
    "getsockopt",
    [fd("fd"), int("level", levels), int("optname"), addressOut("optval"), addressLength("optlen")],
    FULL,
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      const value = socket.getOption(args[1] as number, args[2] as number, (args[3] as number | null) ?? 0);
      if (typeof value === "number") return value;
      return args[3] === null ? -E.FAULT : { result: 0, out: [{ arg: 3, value }] };
    },
  ),
  call(210, "shutdown", [fd("fd"), int("how", shutdowns)], FULL, (context, args) => {
    const socket = socketOf(context, args[0]);
    return typeof socket === "number" ? socket : socket.shutdown(args[1] as number);
  }),
  call(
    211,
    "sendmsg",
    [fd("fd"), { name: "msg", kind: "msgIn" }, int("flags", messageFlags)],
    partial("control messages: SCM_RIGHTS, SCM_CREDENTIALS, hop limit and traffic class; a source address is not taken"),
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      const message = args[1] as MessageIn;
      const ancillary = parseControl(socket, message.control, context);
      if (typeof ancillary === "number") return ancillary;
      const name = message.name !== null && message.name.length > 0 ? message.name : null;
      return send(context, socket, message.data, name, ancillary, args[2] as number);
    },
  ),
  call(
    212,
    "recvmsg",
    [fd("fd"), { name: "msg", kind: "msgOut" }, int("flags", messageFlags)],
    partial("control messages: SCM_RIGHTS and SCM_CREDENTIALS"),
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      const { nameCapacity, dataCapacity, controlCapacity } = args[1] as MessageOut;
      const flags = args[2] as number;
      return receive(context, socket, dataCapacity, flags, (received) => ({
        result: (flags & MSG.TRUNC) !== 0 ? received.length : received.bytes.length,
        out: [{ arg: 1, value: messageResult(context, socket, received, nameCapacity, controlCapacity, flags) }],
      }));
    },
  ),
  call(
    242,
    "accept4",
    [fd("fd"), addressOut("upeer_sockaddr"), addressLength("upeer_addrlen"), int("flags", types)],
    FULL,
    (context, args) => accept(context, args[0] as number, args[1] !== null, args[3] as number),
  ),
  call(
    243,
    "recvmmsg",
    [fd("fd"), { name: "mmsg", kind: "address" }, { name: "vlen", kind: "uint" }, int("flags", messageFlags), maybeInput("timeout", 16)],
    FULL,
    (context, args) => {
      const socket = socketOf(context, args[0]);
      if (typeof socket === "number") return socket;
      return receiveMany(context, socket, args[1] as number, args[2] as number, args[3] as number, args[4] as Uint8Array | null);
    },
  ),
  call(
    269,
    "sendmmsg",
    [fd("fd"), { name: "mmsg", kind: "address" }, { name: "vlen", kind: "uint" }, int("flags", messageFlags)],
    FULL,
    (context, args) => {
      const socket = socketOf(context, args[0]);
      return typeof socket === "number" ? socket : sendMany(context, socket, args[1] as number, args[2] as number, args[3] as number);
    },
  ),
];
