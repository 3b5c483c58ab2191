import type { Awaitable, HostCalls, LibraryOs, SyscallCall, SyscallDeclaration } from "../abi.ts";
import { PENDING } from "../abi.ts";
import { isAddress, isBytes, isHandle, isInteger, isRecord } from "../check.ts";
import { MonitorError } from "../errors.ts";
import type { PlainPort } from "./messages.ts";
import { Channel, LATER, PORT_VERSION } from "./messages.ts";

export interface ServeOptions {
  /** Makes the library OS from what the monitor sent as options; throws when they are not in order. */
  readonly create: (host: HostCalls, options: unknown) => Awaitable<LibraryOs>;
  readonly violation?: (what: string) => void;
  /** The cVM is over, or the port was closed. */
  readonly closed?: () => void;
}

type Check = (value: unknown) => boolean;

const console_: Check = (value) => isInteger(value, 0, 0x7fff_ffff);
const endpoint: Check = (value) => isRecord(value) && isAddress(value["address"]) && isInteger(value["port"], 0, 65535);
const count: Check = (value) => isInteger(value, 0);
const call: Check = (value) =>
  isRecord(value) &&
  isHandle(value["process"]) &&
  isHandle(value["thread"]) &&
  Number.isInteger(value["number"]) &&
  Array.isArray(value["args"]);
const fault: Check = (value) => isRecord(value) && isHandle(value["process"]) && isHandle(value["thread"]) && isBytes(value["registers"]);
const program: Check = (value) =>
  isRecord(value) &&
  Array.isArray(value["argv"]) &&
  Array.isArray(value["env"]) &&
  typeof value["cwd"] === "string" &&
  isRecord(value["user"]);

type Methods = Exclude<keyof LibraryOs, "syscalls" | "lent">;

/** What the arguments of each method must be. */
const ARGUMENTS: Readonly<Record<Methods, readonly Check[]>> = {
  start: [],
  exec: [console_, program],
  syscall: [call],
  interrupted: [isHandle, isBytes],
  fault: [fault],
  consoleInput: [console_, isBytes],
  consoleResize: [console_, count, count],
  signal: [console_, count],
  incoming: [isHandle, endpoint, isHandle],
  connected: [isHandle, count, endpoint],
  received: [isHandle, isBytes],
  credited: [isHandle, count],
  ended: [isHandle],
  reset: [isHandle, count],
  cpNotified: [isHandle, count],
  statistics: [],
  close: [],
};

/** Declarations without what only the library OS needs (handlers, notes). */
function declarationsOf(libraryOs: LibraryOs): SyscallDeclaration[] {
  return libraryOs.syscalls.map(({ number, name, arguments: args, registers }) => ({
    number,
    name,
    arguments: args.map(({ name: argument, kind, length, nullable }) => ({
      name: argument,
      kind,
      ...(length === undefined ? {} : { length }),
      ...(nullable === true ? { nullable } : {}),
    })),
    ...(registers === true ? { registers } : {}),
  }));
}

/**
 * Serves one library OS to the monitor at the other end of a port: the counterpart of {@link connectLibraryOs}, for a worker or
 * another process. Messages that are not in order are refused and reported.
 */
export function serveLibraryOs(port: PlainPort, { create, violation = () => {}, closed }: ServeOptions): void {
  let libraryOs: LibraryOs | null = null;
  const checked = (method: string, args: readonly unknown[]): LibraryOs => {
    if (!Object.hasOwn(ARGUMENTS, method)) throw new MonitorError("protocol", "there is no such method");
    const checks = ARGUMENTS[method as Methods];
    if (args.length !== checks.length || !checks.every((check, i) => check(args[i])))
      throw new MonitorError("protocol", `${method}: the arguments are not in order`);
    if (libraryOs === null) throw new MonitorError("state", "there is no library OS yet");
    return libraryOs;
  };
  const hello = async (version: unknown, options: unknown): Promise<unknown> => {
    if (version !== PORT_VERSION)
      throw new MonitorError("protocol", `this library OS speaks version ${PORT_VERSION} of the port protocol, not ${String(version)}`);
    if (libraryOs !== null) throw new MonitorError("state", "hello was said before");
    libraryOs = await create(host, options);
    return { version: PORT_VERSION, syscalls: declarationsOf(libraryOs) };
  };
  const channel = new Channel(port, {
    call(method, args) {
      if (method === "hello") return hello(args[0], args[1]);
      const os = checked(method, args);
      if (method === "syscall") {
        const outcome = os.syscall(args[0] as SyscallCall);
        return outcome === PENDING ? LATER : outcome;
      }
      return (os[method as Methods] as (...args: readonly unknown[]) => unknown)(...args);
    },
    event(method, args) {
      const os = checked(method, args);
      if (method === "incoming") {
        const [listener, from, token] = args as Parameters<LibraryOs["incoming"]> & readonly unknown[];
        os.incoming(listener, from, (stream) => channel.event("accept", [token, stream]));
      } else if (method === "close") {
        os.close?.();
        channel.close();
      } else (os[method as Methods] as (...args: readonly unknown[]) => unknown)(...args);
    },
    violation,
    closed: () => closed?.(),
  });

  const ask = (method: keyof HostCalls, ...args: readonly unknown[]): Promise<never> => channel.call(method, args) as Promise<never>;
  const tell = (method: keyof HostCalls, ...args: readonly unknown[]): void => channel.event(method, args);
  const host: HostCalls = {
    createProcess: (bytes) => ask("createProcess", bytes),
    grow: (process, bytes) => ask("grow", process, bytes),
    usage: () => ask("usage"),
    fork: (thread, child, bytes) => ask("fork", thread, child, bytes),
    start: (thread) => tell("start", thread),
    operate: (ops) => ask("operate", ops),
    complete: (thread, reply) => tell("complete", thread, reply),
    readMemory: (process, address, length) => ask("readMemory", process, address, length),
    listen: (stream, listenPort, backlog) => ask("listen", stream, listenPort, backlog),
    connect: (stream, to, fromPort) => tell("connect", stream, to, fromPort),
    send: (stream, bytes) => tell("send", stream, bytes),
    credit: (stream, bytes) => tell("credit", stream, bytes),
    shutdown: (stream) => tell("shutdown", stream),
    close: (stream, reset) => tell("close", stream, reset),
    names: () => ask("names"),
    cp: (request) => ask("cp", request),
    consoleWrite: (console, fd, bytes) => tell("consoleWrite", console, fd, bytes),
    trace: (line) => tell("trace", line),
    exited: (console, code, signal) => tell("exited", console, code, signal),
  };
}
