import type { HostCalls, LibraryOs, StreamId, SyscallDeclaration } from "../abi.ts";
import { PENDING } from "../abi.ts";
import { isInteger, isRecord } from "../check.ts";
import { Errno, MonitorError } from "../errors.ts";
import type { PlainPort } from "./messages.ts";
import { Channel, LATER, PORT_VERSION } from "./messages.ts";

export interface ConnectOptions {
  /** Plain data for the maker of the library OS on the other side. */
  readonly options: unknown;
  /** Told of messages that break the protocol; they have no other effect. */
  readonly violation?: (what: string) => void;
}

type HostEvents = "start" | "complete" | "connect" | "send" | "credit" | "shutdown" | "close" | "consoleWrite" | "trace" | "exited";
type HostQuestions = Exclude<keyof HostCalls, HostEvents | "lend" | "want" | "argument">;

const SIGKILL = 9;

/**
 * A library OS that lives behind a port. Every system call is answered later; when the port closes the cVM ends as if killed.
 * The calls of the other side go to `host`, which checks each argument.
 * Rejects with MonitorError `protocol` when the other side is of another version, or what it throws.
 */
export async function connectLibraryOs(
  port: PlainPort,
  host: HostCalls,
  { options, violation = () => {} }: ConnectOptions,
): Promise<LibraryOs> {
  type Loose = (...args: readonly unknown[]) => unknown;
  // The implementations take whatever comes, so that their declared types say less than they accept.
  const loose = host as unknown as Readonly<Record<keyof HostCalls, Loose>>;
  const questions: Readonly<Record<HostQuestions, Loose>> = {
    createProcess: loose.createProcess,
    grow: loose.grow,
    usage: loose.usage,
    fork: loose.fork,
    operate: loose.operate,
    readMemory: loose.readMemory,
    listen: loose.listen,
    names: loose.names,
    cp: loose.cp,
  };
  const offers = new Map<number, { readonly listener: StreamId; readonly accept: (stream: StreamId) => void }>();
  let nextOffer = 1;
  const events: Readonly<Record<HostEvents | "accept", Loose>> = {
    start: loose.start,
    complete: loose.complete,
    connect: loose.connect,
    send: loose.send,
    credit: loose.credit,
    shutdown: loose.shutdown,
    consoleWrite: loose.consoleWrite,
    trace: loose.trace,
    exited: loose.exited,
    close: (stream, reset) => {
      for (const [token, { listener }] of offers) if (listener === stream) offers.delete(token);
      loose.close(stream, reset);
    },
    accept: (token, stream) => {
      const offer = offers.get(token as number);
      offers.delete(token as number);
      if (offer === undefined) violation("accept: there is no such connection");
      else offer.accept(stream as StreamId);
    },
  };
  let over = false;
  const channel = new Channel(port, {
    call(method, args) {
      if (!Object.hasOwn(questions, method)) throw new MonitorError("protocol", "there is no such call");
      return questions[method as HostQuestions](...args);
    },
    event(method, args) {
      if (!Object.hasOwn(events, method)) throw new MonitorError("protocol", "there is no such event");
      events[method as HostEvents](...args);
    },
    violation,
    closed: () => {
      if (!over) host.exited(0, 0, SIGKILL);
    },
  });

  let hello: unknown;
  try {
    hello = await channel.call("hello", [PORT_VERSION, options]);
  } catch (error) {
    over = true;
    channel.close();
    throw error;
  }
  if (!isRecord(hello) || hello["version"] !== PORT_VERSION || !Array.isArray(hello["syscalls"])) {
    over = true;
    channel.close();
    throw new MonitorError("protocol", `the library OS does not speak version ${PORT_VERSION} of the port protocol`);
  }
  const ask = (method: string, ...args: readonly unknown[]): Promise<never> => channel.call(method, args) as Promise<never>;
  return {
    syscalls: hello["syscalls"] as readonly SyscallDeclaration[],
    start: () => ask("start"),
    exec: (console, program) => ask("exec", console, program),
    syscall(call) {
      const { thread } = call;
      channel.ask(
        "syscall",
        [call],
        (value) => {
          if (value !== LATER) host.complete(thread, value as number);
        },
        (error) => {
          if (over) return;
          violation(`system call ${call.number} failed: ${error.message}`);
          host.complete(thread, -Errno.EIO);
        },
      );
      return PENDING;
    },
    interrupted: (thread, registers) => ask("interrupted", thread, registers),
    fault: (fault) => ask("fault", fault),
    consoleInput: (console, bytes) => channel.event("consoleInput", [console, bytes]),
    consoleResize: (console, columns, rows) => channel.event("consoleResize", [console, columns, rows]),
    signal: (console, signal) => channel.event("signal", [console, signal]),
    incoming(listener, from, accept) {
      const token = nextOffer++;
      offers.set(token, { listener, accept });
      channel.event("incoming", [listener, from, token]);
    },
    connected: (stream, error, local) => channel.event("connected", [stream, error, local]),
    received: (stream, bytes) => channel.event("received", [stream, bytes]),
    credited: (stream, bytes) => channel.event("credited", [stream, bytes]),
    ended: (stream) => channel.event("ended", [stream]),
    reset: (stream, error) => channel.event("reset", [stream, error]),
    cpNotified: (handle, changes) => channel.event("cpNotified", [handle, changes]),
    async statistics() {
      const counters: unknown = await ask("statistics");
      if (!isRecord(counters)) return {};
      return Object.fromEntries(Object.entries(counters).filter((entry): entry is [string, number] => isInteger(entry[1], 0)));
    },
    close() {
      over = true;
      channel.event("close", []);
      // What was posted before is still delivered.
      queueMicrotask(() => channel.close());
    },
  };
}
