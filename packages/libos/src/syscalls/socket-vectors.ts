/**
 * sendmmsg and recvmmsg: arrays of struct mmsghdr. Their pointers lie in memory that no declaration describes, so they are
 * followed with reads of the caller's own memory before anything is sent or received.
 */
import { PENDING, Limits, type MessageIn, type ProcessOp } from "@cvm/monitor/abi";
import { O } from "../files/constants.ts";
import { E } from "../kernel/errno.ts";
import type { CallContext, SyscallOutcome, SyscallReply } from "../kernel/types.ts";
import { MSG } from "../sockets/constants.ts";
import { dropRights, messageResult, parseControl } from "../sockets/control.ts";
import type { Ancillary, SocketFile } from "../sockets/socket.ts";
import { viewOf, readU64 } from "./define.ts";

/** Offsets in struct mmsghdr. */
const HEADER = {
  name: 0,
  nameLength: 8,
  vector: 16,
  vectorCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
  bytes: 64,
} as const;
const IOVEC_BYTES = 16;
const MOST_MESSAGES = 1024;
const MOST_CONTROL = 65536;

interface Piece {
  readonly address: number;
  readonly length: number;
}
interface Header {
  /** Where the mmsghdr is. */
  readonly at: number;
  readonly name: Piece;
  readonly control: Piece;
  readonly pieces: readonly Piece[];
}

/** Bad memory or a bad number: ends the call with its errno. */
class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

async function read(context: CallContext, { address, length }: Piece): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0);
  const bytes = await context.kernel.host.readMemory(context.process.space, address, length);
  if (bytes === null) throw new Refusal(E.FAULT);
  return bytes;
}

async function readHeaders(context: CallContext, address: number, count: number): Promise<Header[]> {
  const headers: Header[] = [];
  for (let index = 0; index < Math.min(count, MOST_MESSAGES); index++) {
    const at = address + index * HEADER.bytes;
    const view = viewOf(await read(context, { address: at, length: HEADER.bytes }));
    const vectorCount = readU64(view, HEADER.vectorCount);
    if (vectorCount > Limits.iovecs) throw new Refusal(E.MSGSIZE);
    const vector = viewOf(await read(context, { address: readU64(view, HEADER.vector), length: vectorCount * IOVEC_BYTES }));
    const pieces: Piece[] = [];
    let total = 0;
    for (let piece = 0; piece < vectorCount; piece++) {
      const length = readU64(vector, piece * IOVEC_BYTES + 8);
      total += length;
      if (total > Limits.transferBytes) throw new Refusal(E.MSGSIZE);
      pieces.push({ address: readU64(vector, piece * IOVEC_BYTES), length });
    }
    const name = readU64(view, HEADER.name);
    const control = readU64(view, HEADER.control);
    headers.push({
      at,
      name: { address: name, length: name === 0 ? 0 : Math.min(128, view.getUint32(HEADER.nameLength, true)) },
      control: { address: control, length: control === 0 ? 0 : Math.min(MOST_CONTROL, readU64(view, HEADER.controlLength)) },
      pieces,
    });
  }
  return headers;
}

/** What is tried until all messages are through. */
interface Progress {
  /** -EAGAIN: nothing more goes now. */
  readonly attempt: () => number | SyscallReply;
  /** What the caller gets who does not wait any longer. */
  readonly given: (error: number) => number | SyscallReply;
}

/** Runs what needs the caller's memory and then answers, waiting for the socket as the caller wants. */
function run(
  context: CallContext,
  socket: SocketFile,
  flags: number,
  timeout: number | undefined,
  prepare: () => Promise<Progress>,
): SyscallOutcome {
  const { kernel, thread } = context;
  const go = async (): Promise<SyscallOutcome> => {
    try {
      const { attempt, given } = await prepare();
      const first = attempt();
      if (first !== -E.AGAIN) return first;
      if ((socket.flags & O.NONBLOCK) !== 0 || (flags & MSG.DONTWAIT) !== 0) return given(-E.AGAIN);
      return kernel.block(
        context,
        socket.queues,
        attempt,
        timeout ?? Infinity,
        () => given(-E.AGAIN),
        true,
        () => given(-E.INTR),
      );
    } catch (error) {
      if (error instanceof Refusal) return -error.errno;
      throw error;
    }
  };
  void go().then((outcome) => {
    if (outcome !== PENDING) kernel.answer(thread, outcome);
  });
  return PENDING;
}

const word = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
};

/** sendmmsg: how many messages went; the error only when none did. */
export function sendMany(context: CallContext, socket: SocketFile, address: number, count: number, flags: number): SyscallOutcome {
  if (count === 0) return 0;
  const process = context.process.space;
  return run(context, socket, flags, socket.writeTimeout, async () => {
    const headers = await readHeaders(context, address, count);
    const messages: MessageIn[] = [];
    for (const { name, control, pieces } of headers) {
      const parts: Uint8Array[] = [];
      for (const piece of pieces) parts.push(await read(context, piece));
      messages.push({
        name: name.length === 0 ? null : await read(context, name),
        data: Buffer.concat(parts),
        control: await read(context, control),
        flags: 0,
      });
    }
    const ops: ProcessOp[] = [];
    const waits = (socket.flags & O.NONBLOCK) === 0 && (flags & MSG.DONTWAIT) === 0;
    /** Of the message that is under way: how much of it went, and what goes beside its first bytes. */
    let done = 0;
    let beside: Ancillary | null | undefined;
    const reply = (): SyscallReply => ({ result: ops.length, ops });
    const given = (error: number): number | SyscallReply => {
      if (done === 0) dropRights(beside ?? null);
      return ops.length === 0 ? error : reply();
    };
    const attempt = (): number | SyscallReply => {
      for (let index = ops.length; index < messages.length; index = ops.length) {
        const { data, name, control } = messages[index]!;
        if (beside === undefined) {
          const ancillary = parseControl(socket, control, context);
          if (typeof ancillary === "number") return given(ancillary);
          beside = ancillary;
        }
        const sent = socket.send(done === 0 ? data : data.subarray(done), name, done === 0 ? beside : null, flags, context);
        if (sent === -E.AGAIN && (done === 0 || waits)) return sent;
        if (sent < 0 && done === 0) return given(sent);
        done += Math.max(0, sent);
        if (sent >= 0 && done < data.length && waits) continue;
        ops.push({ op: "write", process, address: headers[index]!.at + HEADER.length, bytes: word(done), ifMapped: true });
        done = 0;
        beside = undefined;
      }
      return reply();
    };
    return { attempt, given };
  });
}

/** When recvmmsg takes no further message: milliseconds from its start. -EINVAL. */
function limitOf(timeout: Uint8Array | null): number {
  if (timeout === null) return Infinity;
  const view = viewOf(timeout);
  const seconds = Number(view.getBigInt64(0, true));
  const nanoseconds = Number(view.getBigInt64(8, true));
  return seconds < 0 || nanoseconds < 0 || nanoseconds >= 1e9 ? -E.INVAL : seconds * 1000 + nanoseconds / 1e6;
}

/**
 * recvmmsg: how many messages came; the error only when none did. It waits for all of them, with MSG_WAITFORONE for the first. As in
 * Linux the time-out is looked at when a message has come.
 */
export function receiveMany(
  context: CallContext,
  socket: SocketFile,
  address: number,
  count: number,
  flags: number,
  timeout: Uint8Array | null,
): SyscallOutcome {
  const limit = limitOf(timeout);
  if (limit < 0) return limit;
  if (count === 0) return 0;
  const process = context.process.space;
  const until = context.kernel.monotonic() + limit;
  return run(context, socket, flags, socket.readTimeout, async () => {
    const headers = await readHeaders(context, address, count);
    // Where the answers go must be the caller's own memory, before a message is taken off the queue.
    for (const header of headers) for (const piece of [header.name, header.control, ...header.pieces]) await read(context, piece);
    const ops: ProcessOp[] = [];
    const put = (at: number, bytes: Uint8Array): void => {
      if (bytes.length > 0) ops.push({ op: "write", process, address: at, bytes, ifMapped: true });
    };
    let result = 0;
    const given = (error: number): number | SyscallReply => (result === 0 ? error : { result, ops });
    const attempt = (): number | SyscallReply => {
      while (result < headers.length) {
        const { at, name, control, pieces } = headers[result]!;
        const capacity = pieces.reduce((sum, piece) => sum + piece.length, 0);
        const received = socket.receive(capacity, flags & ~MSG.WAITFORONE, context);
        if (received === -E.AGAIN && (result === 0 || (flags & MSG.WAITFORONE) === 0)) return received;
        if (typeof received === "number") {
          // What is not told now is told by the next call.
          if (result > 0 && received !== -E.AGAIN) socket.error = -received;
          return given(received);
        }
        const message = messageResult(context, socket, received, name.length, control.length, flags);
        let done = 0;
        for (const piece of pieces) {
          put(piece.address, message.data.slice(done, done + piece.length));
          done += piece.length;
        }
        if (message.name !== null) put(name.address, message.name.slice(0, name.length));
        put(control.address, message.control.slice(0, control.length));
        put(at + HEADER.nameLength, word(message.name?.length ?? 0));
        put(at + HEADER.controlLength, word(message.control.length));
        put(at + HEADER.flags, word(message.flags));
        put(at + HEADER.length, word(message.data.length));
        result++;
        if (context.kernel.monotonic() >= until) break;
      }
      return { result, ops };
    };
    return { attempt, given };
  });
}
