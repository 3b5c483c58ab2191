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
import type { SocketFile } from "../sockets/socket.ts";
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

/** Runs what needs the caller's memory and then answers, waiting for the socket as the caller wants. */
function run(
  context: CallContext,
  socket: SocketFile,
  flags: number,
  timeout: number | undefined,
  prepare: () => Promise<() => number | SyscallReply>,
): SyscallOutcome {
  const { kernel, thread } = context;
  const go = async (): Promise<SyscallOutcome> => {
    try {
      const attempt = await prepare();
      const first = attempt();
      if (first !== -E.AGAIN || (socket.flags & O.NONBLOCK) !== 0 || (flags & MSG.DONTWAIT) !== 0) return first;
      return kernel.block(context, socket.queues, attempt, timeout ?? Infinity, -E.AGAIN, true);
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
    return () => {
      const ops: ProcessOp[] = [];
      for (let index = 0; index < messages.length; index++) {
        const message = messages[index]!;
        const ancillary = parseControl(socket, message.control, context);
        const sent = typeof ancillary === "number" ? ancillary : socket.send(message.data, message.name, ancillary, flags, context);
        if (sent < 0) {
          if (typeof ancillary !== "number") dropRights(ancillary);
          if (index === 0) return sent;
          break;
        }
        ops.push({ op: "write", process, address: headers[index]!.at + HEADER.length, bytes: word(sent), ifMapped: true });
        if (sent < message.data.length) break;
      }
      return { result: ops.length, ops };
    };
  });
}

/** recvmmsg: how many messages came; the error only when none did. */
export function receiveMany(context: CallContext, socket: SocketFile, address: number, count: number, flags: number): SyscallOutcome {
  if (count === 0) return 0;
  const process = context.process.space;
  return run(context, socket, flags, socket.readTimeout, async () => {
    const headers = await readHeaders(context, address, count);
    // Where the answers go must be the caller's own memory, before a message is taken off the queue.
    for (const header of headers) for (const piece of [header.name, header.control, ...header.pieces]) await read(context, piece);
    return () => {
      const ops: ProcessOp[] = [];
      const put = (at: number, bytes: Uint8Array): void => {
        if (bytes.length > 0) ops.push({ op: "write", process, address: at, bytes, ifMapped: true });
      };
      let result = 0;
      for (const { at, name, control, pieces } of headers) {
        const capacity = pieces.reduce((sum, piece) => sum + piece.length, 0);
        const received = socket.receive(capacity, flags & ~MSG.WAITFORONE, context);
        if (typeof received === "number") {
          if (result === 0) return received;
          break;
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
      }
      return { result, ops };
    };
  });
}
