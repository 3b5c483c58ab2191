import { NetError, RemoteError } from "./errors.ts";
import type { Events, EventOf, Methods, Opposite, ParamsOf, Protocol, ResultOf, Role, Side } from "./protocol.ts";
import type { Frame, Transport } from "./transport.ts";
import type { Validator } from "./validators.ts";

/** Kinds of frames. The first frame of each side is a hello. */
const HELLO = 0; // [0, name, version]
const REQUEST = 1; // [1, id, method, params]
const RESULT = 2; // [2, id, result]
const ERROR = 3; // [3, id, code, message]
const EVENT = 4; // [4, event, data]
const CANCEL = 5; // [5, id]

/** Limits of a port. */
export interface PortLimits {
  /** Milliseconds until a request without an own limit fails with `timeout`; Infinity: never. Default 30,000. */
  readonly requestMs: number;
  /** Milliseconds until the peer must have said hello. Default 5000. */
  readonly helloMs: number;
  /** Most requests of the peer handled at a time; more are answered with `busy`. Default 1024. */
  readonly requests: number;
}

export const defaultPortLimits: PortLimits = { requestMs: 30_000, helloMs: 5000, requests: 1024 };

/** What a handler learns besides the parameters. */
export interface RequestContext {
  /** Aborted when the peer gives the request up or the link ends. */
  readonly signal: AbortSignal;
}

type MaybePromise<T> = T | PromiseLike<T>;

/** One handler for each request that a side may make. An error with a text `code` is passed on with it. */
export type Handlers<S extends Side> = {
  readonly [M in Methods<S>]: (params: ParamsOf<S, M>, context: RequestContext) => MaybePromise<ResultOf<S, M>>;
};

export interface RequestOptions {
  /** Milliseconds; Infinity: wait as long as it takes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

interface Outgoing {
  readonly method: string;
  readonly result: Validator<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly done: () => void;
}

/**
 * One end of a typed conversation over a transport. `S` is what this side may say, `O` what the other may.
 * Whatever arrives is checked; a malformed or unknown frame ends the link with a `protocol` error on both sides.
 */
export class Port<S extends Side = Side, O extends Side = Side> {
  readonly #transport: Transport;
  readonly #own: Side;
  readonly #other: Side;
  readonly #protocol: Protocol;
  readonly #handlers: Readonly<Record<string, (params: unknown, context: RequestContext) => unknown>>;
  readonly #limits: PortLimits;
  readonly #outgoing: Map<number, Outgoing> = new Map();
  readonly #incoming: Map<number, AbortController> = new Map();
  readonly #listeners: Map<string, ((data: unknown) => void)[]> = new Map();
  readonly #waiting: (() => void)[] = [];
  readonly #hello: ReturnType<typeof setTimeout>;
  #greeted = false;
  #nextId = 1;
  #reason: NetError | null = null;
  #ended!: (reason: NetError) => void;
  #welcome!: () => void;
  #unwelcome!: (reason: NetError) => void;

  /** Resolves when the peer has said hello with the same protocol; rejects when the link ends before. */
  readonly ready: Promise<void>;
  /** Resolves, never rejects, when the link has ended, with the reason. */
  readonly closed: Promise<NetError>;

  constructor(transport: Transport, protocol: Protocol, role: Role, handlers: Handlers<O>, limits: Partial<PortLimits> = {}) {
    this.#transport = transport;
    this.#protocol = protocol;
    this.#own = protocol[role];
    this.#other = protocol[role === "client" ? "server" : "client"];
    this.#handlers = handlers as never;
    this.#limits = { ...defaultPortLimits, ...limits };
    this.closed = new Promise((resolve) => (this.#ended = resolve));
    this.ready = new Promise((resolve, reject) => {
      this.#welcome = resolve;
      this.#unwelcome = reject;
    });
    // Who does not wait for `ready` learns of a failure by requests and `closed`.
    this.ready.catch(() => {});
    this.#hello = setTimeout(() => this.#fail("protocol", "the peer did not say hello in time"), this.#limits.helloMs);
    transport.start({ frame: (frame) => this.#frame(frame), drained: () => this.#drained(), closed: (reason) => this.#close(reason) });
    transport.send([HELLO, protocol.name, protocol.version]);
  }

  /** Bytes sent that the peer has not yet taken. */
  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  /**
   * Asks the peer.
   * @throws NetError `invalid` (parameters), `limit`, `timeout`, `aborted`, `protocol` (the answer does not fit), or why the link ended
   * @throws RemoteError when the peer refuses
   */
  async request<M extends Methods<S>>(method: M, params: ParamsOf<S, M>, options: RequestOptions = {}): Promise<ResultOf<S, M>> {
    const definition = Object.hasOwn(this.#own.requests, method) ? this.#own.requests[method]! : undefined;
    if (definition === undefined) throw new NetError("invalid", `the protocol ${this.#protocol.name} has no request "${method}"`);
    const checked = this.#check(definition.params, params, method);
    if (options.signal?.aborted === true)
      throw new NetError("aborted", `the request "${method}" was given up`, { cause: options.signal.reason });
    if (this.#reason !== null) throw this.#reason;
    const id = this.#nextId++;
    return new Promise<ResultOf<S, M>>((resolve, reject) => {
      const timeoutMs = options.timeoutMs ?? this.#limits.requestMs;
      const giveUp = (error: NetError): void => {
        this.#outgoing.get(id)?.done();
        this.#outgoing.delete(id);
        this.#transport.send([CANCEL, id]);
        reject(error);
      };
      const onAbort = (): void =>
        giveUp(new NetError("aborted", `the request "${method}" was given up`, { cause: options.signal?.reason }));
      const timer =
        timeoutMs === Infinity
          ? undefined
          : setTimeout(() => giveUp(new NetError("timeout", `no answer to "${method}" within ${timeoutMs} ms`)), timeoutMs);
      options.signal?.addEventListener("abort", onAbort, { once: true });
      const done = (): void => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", onAbort);
      };
      this.#outgoing.set(id, { method, result: definition.result, resolve: resolve as (value: unknown) => void, reject, done });
      try {
        this.#send([REQUEST, id, method, checked]);
      } catch (error) {
        done();
        this.#outgoing.delete(id);
        reject(error);
      }
    });
  }

  /**
   * Tells the peer. False when it reads slower than this side writes: wait for {@link drained} before the next one.
   * On a closed port nothing is sent, and the answer is true.
   * @throws NetError `invalid`, `limit`
   */
  emit<E extends Events<S>>(event: E, data: EventOf<S, E>): boolean {
    const validator = Object.hasOwn(this.#own.events, event) ? this.#own.events[event] : undefined;
    if (validator === undefined) throw new NetError("invalid", `the protocol ${this.#protocol.name} has no event "${event}"`);
    const checked = this.#check(validator, data, event);
    if (this.#reason !== null) return true;
    this.#send([EVENT, event, checked]);
    return this.#transport.bufferedBytes < this.#transport.limits.highWaterBytes;
  }

  /** Resolves when the peer has taken enough of what was sent, or the port is closed. */
  async drained(): Promise<void> {
    if (this.#reason !== null || this.#transport.bufferedBytes < this.#transport.limits.highWaterBytes) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Adds a listener for an event of the peer. */
  on<E extends Events<O>>(event: E, listener: (data: EventOf<O, E>) => void): this {
    const listeners = this.#listeners.get(event);
    if (listeners === undefined) this.#listeners.set(event, [listener as (data: unknown) => void]);
    else listeners.push(listener as (data: unknown) => void);
    return this;
  }

  /** Ends the link after what was sent is delivered. Requests in flight fail with `closed`. */
  close(reason: string = "this side is done"): void {
    this.#fail("closed", reason);
  }

  #check(validator: Validator<unknown>, value: unknown, name: string): unknown {
    try {
      return validator.parse(value);
    } catch (cause) {
      throw new NetError("invalid", `"${name}": ${messageOf(cause)}`, { cause });
    }
  }

  #send(frame: Frame): void {
    this.#transport.send(frame);
    if (this.#transport.bufferedBytes > this.#transport.limits.bufferedBytes)
      this.#fail("limit", `more than ${this.#transport.limits.bufferedBytes} bytes wait for a peer that does not read`);
  }

  #fail(code: "closed" | "protocol" | "limit", reason: string): void {
    if (this.#reason !== null) return;
    this.#transport.close(code, reason);
    this.#close(new NetError(code, reason));
  }

  #close(reason: NetError): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    clearTimeout(this.#hello);
    for (const request of this.#outgoing.values()) {
      request.done();
      request.reject(reason);
    }
    this.#outgoing.clear();
    for (const controller of this.#incoming.values()) controller.abort(reason);
    this.#incoming.clear();
    this.#unwelcome(reason);
    this.#drained();
    this.#ended(reason);
  }

  #drained(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #frame(frame: Frame): void {
    if (this.#reason !== null) return;
    const [kind, a, b, c] = frame;
    if (!this.#greeted) {
      if (kind !== HELLO || typeof a !== "string" || typeof b !== "number" || frame.length !== 3)
        return this.#fail("protocol", "the first frame of the peer is no hello");
      const { name, version } = this.#protocol;
      if (a !== name || b !== version)
        return this.#fail("protocol", `this side speaks ${name} version ${version}, the peer ${a.slice(0, 40)} version ${b}`);
      this.#greeted = true;
      clearTimeout(this.#hello);
      this.#welcome();
      return;
    }
    const numbered = Number.isSafeInteger(a);
    if (kind === EVENT && typeof a === "string" && frame.length <= 3) this.#event(a, b);
    else if (kind === REQUEST && numbered && typeof b === "string" && frame.length <= 4) void this.#request(a as number, b, c);
    else if (kind === RESULT && numbered && frame.length <= 3) this.#result(a as number, b);
    else if (kind === ERROR && numbered && typeof b === "string" && typeof c === "string" && frame.length === 4)
      this.#take(a as number)?.reject(new RemoteError(b, c));
    else if (kind === CANCEL && numbered && frame.length === 2)
      this.#incoming.get(a as number)?.abort(new NetError("aborted", "the peer gave the request up"));
    else this.#fail("protocol", `a malformed frame of kind ${typeof kind === "number" ? kind : typeof kind} arrived`);
  }

  #event(event: string, data: unknown): void {
    const validator = Object.hasOwn(this.#other.events, event) ? this.#other.events[event] : undefined;
    if (validator === undefined) return this.#fail("protocol", `an unknown event "${event.slice(0, 40)}" arrived`);
    let checked: unknown;
    try {
      checked = validator.parse(data);
    } catch (error) {
      return this.#fail("protocol", `the event "${event}" does not fit: ${messageOf(error)}`);
    }
    for (const listener of this.#listeners.get(event) ?? []) listener(checked);
  }

  async #request(id: number, method: string, params: unknown): Promise<void> {
    if (this.#incoming.has(id)) return this.#fail("protocol", `a second request ${id} arrived while the first is being handled`);
    const definition = Object.hasOwn(this.#other.requests, method) ? this.#other.requests[method] : undefined;
    if (definition === undefined) return this.#refuse(id, "unknown-method", `there is no request "${method.slice(0, 40)}"`);
    if (this.#incoming.size >= this.#limits.requests)
      return this.#refuse(id, "busy", `more than ${this.#limits.requests} requests are being handled`);
    let checked: unknown;
    try {
      checked = definition.params.parse(params);
    } catch (error) {
      return this.#refuse(id, "invalid-params", `"${method}": ${messageOf(error)}`);
    }
    const controller = new AbortController();
    this.#incoming.set(id, controller);
    try {
      const result = await this.#handlers[method]!(checked, { signal: controller.signal });
      if (this.#reason === null) this.#send([RESULT, id, result]);
    } catch (error) {
      const { code } = (error ?? {}) as { code?: unknown };
      this.#refuse(id, typeof code === "string" ? code : "internal", messageOf(error));
    } finally {
      this.#incoming.delete(id);
    }
  }

  #refuse(id: number, code: string, message: string): void {
    if (this.#reason === null) this.#send([ERROR, id, code.slice(0, 100), message.slice(0, 65536)]);
  }

  /** The request that an answer is for; answers to requests that were given up are dropped. */
  #take(id: number): Outgoing | undefined {
    const request = this.#outgoing.get(id);
    if (request === undefined) {
      if (id < 1 || id >= this.#nextId) this.#fail("protocol", `an answer to a request ${id} that was never made arrived`);
      return undefined;
    }
    this.#outgoing.delete(id);
    request.done();
    return request;
  }

  #result(id: number, value: unknown): void {
    const request = this.#take(id);
    if (request === undefined) return;
    try {
      request.resolve(request.result.parse(value));
    } catch (cause) {
      request.reject(new NetError("protocol", `the answer to "${request.method}" does not fit: ${messageOf(cause)}`, { cause }));
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A port of one role of a protocol. `handlers` answer the requests of the other role. */
export function openPort<P extends Protocol, R extends Role>(
  transport: Transport,
  protocol: P,
  role: R,
  handlers: Handlers<P[Opposite<R>]>,
  limits?: Partial<PortLimits>,
): Port<P[R], P[Opposite<R>]> {
  return new Port<P[R], P[Opposite<R>]>(transport, protocol, role, handlers, limits);
}
