/**
 * What goes over a port between a monitor and a library OS in another realm: arrays of plain data, the same calls as in one process.
 *
 * `[Call, id, method, args]` is answered by `[Return, id, value]` or `[Throw, id, error]`; `[Event, method, args]` is not answered.
 */

/** A way for plain data. Messages arrive whole, in order and as copies; nothing arrives inside a call of `send`. */
export interface PlainPort {
  send(message: unknown): void;
  /** Both are called once, before anything is sent. */
  onMessage(listener: (message: unknown) => void): void;
  onClose(listener: () => void): void;
  close(): void;
}

/** What {@link overMessagePort} needs of a MessagePort (a Worker has it too, but for `close`). */
export interface MessagePortLike {
  postMessage(message: unknown): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
  start?(): void;
  close?(): void;
}

export function overMessagePort(port: MessagePortLike): PlainPort {
  return {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- it is a port, not a window
    send: (message) => port.postMessage(message),
    onMessage(listener) {
      port.addEventListener("message", (event) => listener((event as Event & { readonly data: unknown }).data));
      port.start?.();
    },
    onClose: (listener) => port.addEventListener("close", () => listener()),
    close: () => port.close?.(),
  };
}

export const Kind = { Call: 0, Return: 1, Throw: 2, Event: 3 } as const;

/** Version of this protocol; the two sides must have the same. */
export const PORT_VERSION = 1;

/** Answer to a system call that will come later, as an event `complete`. */
export const LATER: null = null;

export type Message =
  | readonly [kind: typeof Kind.Call, id: number, method: string, args: readonly unknown[]]
  | readonly [kind: typeof Kind.Return, id: number, value: unknown]
  | readonly [kind: typeof Kind.Throw, id: number, error: PlainError]
  | readonly [kind: typeof Kind.Event, method: string, args: readonly unknown[]];

/** An error as data. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly code?: string | number;
  readonly errno?: number;
}

/** Most arguments of a method. */
const ARGUMENTS_MOST = 8;

/** A well-formed message, or null. Its values are not checked: whoever takes them does. */
export function decodeMessage(data: unknown): Message | null {
  if (!Array.isArray(data)) return null;
  const [kind, second, third, fourth] = data as readonly unknown[];
  const list = (value: unknown): boolean => Array.isArray(value) && value.length <= ARGUMENTS_MOST;
  switch (kind) {
    case Kind.Call:
      return data.length === 4 && Number.isSafeInteger(second) && typeof third === "string" && list(fourth)
        ? (data as unknown as Message)
        : null;
    case Kind.Return:
      return data.length === 3 && Number.isSafeInteger(second) ? (data as unknown as Message) : null;
    case Kind.Throw:
      return data.length === 3 && Number.isSafeInteger(second) && typeof third === "object" && third !== null
        ? (data as unknown as Message)
        : null;
    case Kind.Event:
      return data.length === 3 && typeof second === "string" && list(third) ? (data as unknown as Message) : null;
    default:
      return null;
  }
}

/**
 * The value with nothing but data in it. A view of a part of a buffer becomes a copy of that part: cloning it would copy the
 * whole buffer, and a view of guest memory must not leave.
 */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array)
    return value.byteLength === value.buffer.byteLength && value.buffer instanceof ArrayBuffer ? value : value.slice();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    const record: Record<string, unknown> = {};
    for (const [key, part] of Object.entries(value)) if (typeof part !== "function") record[key] = plain(part);
    return record;
  }
  return typeof value === "function" || typeof value === "symbol" ? null : value;
}

export function plainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, code, errno } = error as Error & { readonly code?: unknown; readonly errno?: unknown };
  return {
    name,
    message,
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(typeof errno === "number" ? { errno } : {}),
  };
}

/** The error that data stands for; nothing in it is trusted. */
export function errorOf(value: unknown): Error {
  const { message, name, code, errno } = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const error = new Error(typeof message === "string" ? message.slice(0, 4096) : "the other side failed");
  if (typeof name === "string") error.name = name.slice(0, 64);
  return Object.assign(
    error,
    typeof code === "string" || typeof code === "number" ? { code } : {},
    Number.isSafeInteger(errno) ? { errno } : {},
  );
}

/** What a side does with what the other one sends. */
export interface Handlers {
  /** Answers a call; unknown methods throw. */
  call(method: string, args: readonly unknown[]): unknown;
  event(method: string, args: readonly unknown[]): void;
  /** A message that is none, an event that failed, an answer that nobody asked for. */
  violation(what: string): void;
  closed(): void;
}

/** Both directions of calls over one port. */
export class Channel {
  readonly #port: PlainPort;
  readonly #handlers: Handlers;
  readonly #waiting: Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }> = new Map();
  #next: number = 1;
  #open: boolean = true;

  constructor(port: PlainPort, handlers: Handlers) {
    this.#port = port;
    this.#handlers = handlers;
    port.onMessage((message) => this.#receive(message));
    port.onClose(() => this.#closed());
  }

  call(method: string, args: readonly unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => this.ask(method, args, resolve, reject));
  }

  /** As {@link call}, without a promise. */
  ask(method: string, args: readonly unknown[], resolve: (value: unknown) => void, reject: (error: Error) => void): void {
    if (!this.#open) {
      reject(new Error("the port is closed"));
      return;
    }
    const id = this.#next++;
    this.#waiting.set(id, { resolve, reject });
    this.#port.send([Kind.Call, id, method, plain(args)]);
  }

  event(method: string, args: readonly unknown[]): void {
    if (this.#open) this.#port.send([Kind.Event, method, plain(args)]);
  }

  close(): void {
    this.#closed();
    this.#port.close();
  }

  #closed(): void {
    if (!this.#open) return;
    this.#open = false;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Error("the port was closed"));
    this.#handlers.closed();
  }

  #receive(data: unknown): void {
    if (!this.#open) return;
    const message = decodeMessage(data);
    if (message === null) {
      this.#handlers.violation("a message has not the form of one");
      return;
    }
    if (message[0] === Kind.Event) {
      try {
        this.#handlers.event(message[1], message[2]);
      } catch (error) {
        this.#handlers.violation(`event ${message[1].slice(0, 64)}: ${plainError(error).message}`);
      }
    } else if (message[0] === Kind.Call) this.#answer(message[1], message[2], message[3]);
    else {
      const waiting = this.#waiting.get(message[1]);
      if (waiting === undefined) {
        this.#handlers.violation("an answer came that nobody waits for");
        return;
      }
      this.#waiting.delete(message[1]);
      if (message[0] === Kind.Return) waiting.resolve(message[2]);
      else waiting.reject(errorOf(message[2]));
    }
  }

  #answer(id: number, method: string, args: readonly unknown[]): void {
    const post = (message: Message): void => {
      if (this.#open) this.#port.send(message);
    };
    const failed = (error: unknown): void => post([Kind.Throw, id, plainError(error)]);
    try {
      const value = this.#handlers.call(method, args);
      if (typeof (value as PromiseLike<unknown> | null | undefined)?.then !== "function") post([Kind.Return, id, plain(value)]);
      else (value as PromiseLike<unknown>).then((result) => post([Kind.Return, id, plain(result)]), failed);
    } catch (error) {
      failed(error);
    }
  }
}
