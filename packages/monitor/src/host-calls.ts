import type { HostCalls } from "./abi.ts";
import { Limits } from "./abi.ts";
import { isBytes, isHandle, isInteger, isString } from "./check.ts";
import type { Compartment } from "./compartment.ts";
import type { CpObjects } from "./cp/objects.ts";
import { createCpRequests } from "./cp/requests.ts";
import { Errno } from "./errors.ts";
import type { Gate } from "./gate.ts";
import type { NetworkNode, VirtualNetwork } from "./network.ts";
import type { Operations } from "./operations.ts";
import { ThreadState } from "./process.ts";

const A0 = 10;
/** Longest line of strace output. */
const LINE_MOST = 65536;

/** What a library OS's output and its programs' ends lead to. */
export interface HostCallEvents {
  output(console: number, fd: number, bytes: Uint8Array): void;
  trace(line: string): void;
  exited(console: number, code: number, signal: number): void;
}

/**
 * The calls of ONE library OS. They take whatever comes: what is not in order is refused (counted in {@link Compartment.refused})
 * and changes nothing. A handle is looked up among this cVM's own, so that another's can not even be named.
 */
export function createHostCalls(
  compartment: Compartment,
  gate: Gate,
  operations: Operations,
  network: VirtualNetwork,
  node: NetworkNode,
  objects: CpObjects,
  events: HostCallEvents,
): HostCalls {
  const { machine, pages } = compartment.host;
  const guestBuffer = machine.lendBytes(0, 0).buffer;
  /** Bytes that stay as they are: a view of guest memory does not. */
  const own = (bytes: Uint8Array): Uint8Array => (bytes.buffer === guestBuffer ? bytes.slice() : bytes);
  const accept = (accepted: boolean, what: string): void => {
    if (!accepted && compartment.alive) compartment.refuse(what);
  };

  return {
    createProcess(bytes) {
      if (!isInteger(bytes, 1)) {
        compartment.refuse("createProcess: not a size");
        return -Errno.ENOMEM;
      }
      return compartment.createProcess(bytes)?.id ?? -Errno.ENOMEM;
    },

    grow(id, bytes) {
      const process = compartment.processes.get(id);
      if (process === undefined || !isInteger(bytes, 1)) {
        compartment.refuse("grow: no such process, or not a size");
        return -Errno.ENOMEM;
      }
      gate.moved();
      return compartment.growProcess(process, bytes) ? process.region.length : -Errno.ENOMEM;
    },

    usage() {
      return Array.from(compartment.processes.values(), ({ id, charged }) => [id, charged] as const);
    },

    fork(id, childId, bytes) {
      const parent = compartment.threads.get(id);
      if (parent === undefined || !isHandle(childId) || compartment.threads.has(childId) || !isInteger(bytes, 1)) {
        compartment.refuse("fork: no such thread, the child's number is taken, or not a size");
        return -Errno.EINVAL;
      }
      if (parent.state === ThreadState.Running || compartment.threads.size >= Limits.threads) return -Errno.ENOMEM;
      let hart;
      try {
        hart = machine.createHart();
      } catch {
        return -Errno.ENOMEM;
      }
      const process = compartment.forkProcess(parent.process, bytes);
      if (process === null) {
        hart.release();
        return -Errno.ENOMEM;
      }
      compartment.copyRegisters(parent, process, hart);
      hart.setInt(A0, 0);
      compartment.addThread(childId, process, hart);
      return process.id;
    },

    start(id) {
      const thread = compartment.threads.get(id);
      if (thread?.state === ThreadState.New) compartment.makeRunnable(thread);
      else accept(false, "start: no such thread, or it was started before");
    },

    operate(ops) {
      if (!compartment.alive) return -Errno.EINVAL;
      return operations.apply(compartment, ops, null).error;
    },

    complete(id, reply) {
      if (compartment.alive) gate.complete(compartment, compartment.threads.get(id), reply);
    },

    readMemory(id, address, length) {
      const process = compartment.processes.get(id);
      if (
        process === undefined ||
        !isInteger(address, 0) ||
        !isInteger(length, 0, Limits.transferBytes) ||
        address + length > process.region.length
      )
        return null;
      const start = process.region.base + address;
      if (length === 0) return new Uint8Array(0);
      process.enter();
      return pages.mapped(start, length) ? machine.readBytes(start, length) : null;
    },

    listen(stream, port, backlog) {
      return compartment.alive ? node.listen(stream, port, backlog) : -Errno.EINVAL;
    },
    connect(stream, to, fromPort) {
      accept(compartment.alive && node.connect(stream, to, fromPort), "connect: the stream's number is taken, or no such address or port");
    },
    send(stream, bytes) {
      // A stream may be gone without its library OS knowing yet.
      if (isBytes(bytes)) node.send(stream, bytes, own);
      else accept(false, "send: no bytes");
    },
    lend: (stream, bytes) => (isBytes(bytes) ? node.lend(stream, bytes) : 0),
    want: (stream) => node.want(stream),
    argument: (id, index) => gate.argument(compartment.threads.get(id), index),
    credit(stream, bytes) {
      accept(node.credit(stream, bytes) || isInteger(bytes, 1), "credit: not a number of bytes");
    },
    shutdown(stream) {
      node.shutdown(stream);
    },
    close(stream, reset) {
      node.close(stream, reset);
    },
    names() {
      return network.names(node);
    },
    cp: createCpRequests(compartment, node, objects),

    consoleWrite(console, fd, bytes) {
      if (!compartment.alive) return;
      if (isInteger(console, 0, 0x7fff_ffff) && (fd === 1 || fd === 2) && isBytes(bytes)) events.output(console, fd, own(bytes));
      else accept(false, "consoleWrite: no such console or file descriptor, or no bytes");
    },
    trace(line) {
      if (compartment.alive && isString(line, LINE_MOST)) events.trace(line);
    },
    exited(console, code, signal) {
      if (!compartment.alive) return;
      if (isInteger(console, 0, 0x7fff_ffff) && isInteger(code, 0, 255) && isInteger(signal, 0, 64)) events.exited(console, code, signal);
      else accept(false, "exited: no such console, exit code or signal");
    },
  };
}
