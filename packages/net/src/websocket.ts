import { timingSafeEqual } from "node:crypto";
import { chmodSync, unlinkSync } from "node:fs";
import type { IncomingMessage, Server } from "node:http";
import { createServer } from "node:http";
import { connect as connectSocket } from "node:net";
import type { AddressInfo } from "node:net";
import type { RawData } from "ws";
import { WebSocket, WebSocketServer } from "ws";
import { decode, encode } from "./codec.ts";
import { NetError } from "./errors.ts";
import type { CloseCode, Frame, LinkLimits, Transport, TransportEvents } from "./transport.ts";
import { Inbox, linkLimits } from "./transport.ts";

/** WebSocket close codes (RFC 6455, section 7.4.1). */
const CLOSE: Readonly<Record<CloseCode, number>> = { closed: 1000, protocol: 1002, limit: 1009 };
const NO_GOODBYE = 1006;
/** Longest reason of a close frame: 125 bytes less the code. */
const REASON_BYTES = 123;
/** Longest path of a unix socket (sun_path less its NUL). */
const UNIX_PATH_BYTES = 107;
/** How long a peer may take to answer a close frame. */
const GOODBYE_MS = 2000;

class WebSocketTransport implements Transport {
  readonly limits: LinkLimits;
  readonly #inbox = new Inbox();
  readonly #socket: WebSocket;
  /** What this side said when it closed, or why the socket failed. */
  #reason: NetError | null = null;
  #full = false;

  constructor(socket: WebSocket, limits: LinkLimits) {
    this.#socket = socket;
    this.limits = limits;
    socket.on("message", (data: RawData, isBinary: boolean) => this.#message(data, isBinary));
    socket.on("error", (error: Error & { code?: string }) => {
      // ws closes after each of these; its own codes say which rule of the protocol was broken.
      if (error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH")
        this.#reason ??= new NetError("limit", `a frame longer than the limit of ${limits.frameBytes} bytes arrived`, { cause: error });
      else if (error.code?.startsWith("WS_ERR") === true) this.#reason ??= new NetError("protocol", error.message, { cause: error });
      else this.#reason ??= new NetError("lost", error.message, { cause: error });
    });
    socket.on("close", (code: number, reason: Buffer) => {
      this.#inbox.close(this.#reason ?? closedByPeer(code, reason.toString()));
    });
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }
  start(events: TransportEvents): void {
    this.#inbox.start(events);
  }
  send(frame: Frame): void {
    const bytes = encode(frame, this.limits);
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(bytes, this.#sent);
    if (this.#socket.bufferedAmount >= this.limits.highWaterBytes) this.#full = true;
  }
  close(code: CloseCode, reason: string): void {
    this.#reason ??= new NetError(code, reason);
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.close(CLOSE[code], shorten(reason));
    const timer = setTimeout(() => this.#socket.terminate(), GOODBYE_MS);
    this.#socket.once("close", () => clearTimeout(timer));
  }

  readonly #sent = (): void => {
    if (!this.#full || this.#socket.bufferedAmount >= this.limits.highWaterBytes) return;
    this.#full = false;
    this.#inbox.drained();
  };
  #message(data: RawData, isBinary: boolean): void {
    if (this.#reason !== null) return;
    if (!isBinary || !Buffer.isBuffer(data)) return this.close("protocol", "a text frame arrived; frames are binary");
    try {
      this.#inbox.frame(decode(data));
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      this.#reason ??= error;
      this.close("protocol", error.message);
    }
  }
}

function closedByPeer(code: number, reason: string): NetError {
  if (code === NO_GOODBYE) return new NetError("lost", "the connection broke");
  const named = (Object.keys(CLOSE) as CloseCode[]).find((name) => CLOSE[name] === code) ?? "closed";
  return new NetError(named, `the peer closed the link${reason === "" ? "" : `: ${reason}`}`);
}

/** At most {@link REASON_BYTES} bytes of UTF-8, whole characters. */
function shorten(reason: string): string {
  const bytes = Buffer.from(reason);
  if (bytes.length <= REASON_BYTES) return reason;
  let end = REASON_BYTES;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

/** A listening endpoint. */
export interface Listener {
  /** TCP port; 0 for a unix socket. */
  readonly port: number;
  /** Ends the endpoint and every link that it accepted. */
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly limits?: Partial<LinkLimits>;
  /** A client must show this token. Without one, whoever reaches the address may connect. */
  readonly token?: string;
  /** Browser origins that may connect; every other request with an Origin header is refused. Default: none. */
  readonly origins?: readonly string[];
}

export interface ConnectOptions {
  readonly limits?: Partial<LinkLimits>;
  readonly token?: string;
}

function allowed(request: IncomingMessage, options: ListenOptions): boolean {
  const origin = request.headers.origin;
  if (origin !== undefined && options.origins?.includes(origin) !== true) return false;
  if (options.token === undefined) return true;
  const wanted = Buffer.from(`Bearer ${options.token}`);
  const shown = Buffer.from(request.headers.authorization ?? "");
  return wanted.length === shown.length && timingSafeEqual(wanted, shown);
}

function serve(server: Server, accept: (transport: Transport) => void, options: ListenOptions): WebSocketServer {
  const limits = linkLimits(options.limits);
  server.headersTimeout = limits.connectMs;
  server.requestTimeout = limits.connectMs;
  server.on("request", (_request, response) =>
    response.writeHead(426, { "content-type": "text/plain", connection: "close" }).end("a WebSocket endpoint\n"),
  );
  const webSockets = new WebSocketServer({ noServer: true, maxPayload: limits.frameBytes, perMessageDeflate: false });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    if (!allowed(request, options)) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => accept(new WebSocketTransport(webSocket, limits)));
  });
  return webSockets;
}

function listener(server: Server, webSockets: WebSocketServer, port: number): Listener {
  let closing: Promise<void> | undefined;
  return {
    port,
    close: () =>
      (closing ??= new Promise((resolve) => {
        for (const client of webSockets.clients) {
          client.close(1001, "the listener is closing");
          setTimeout(() => client.terminate(), GOODBYE_MS).unref();
        }
        webSockets.close();
        server.close(() => resolve());
        server.closeIdleConnections();
      })),
  };
}

/**
 * Accepts WebSocket links on a TCP port (0: any free one). Links are not encrypted: use it on loopback, or behind TLS.
 * @throws NetError `in-use`, `connect`
 */
export async function listenWebSocket(
  address: { readonly host?: string; readonly port: number },
  accept: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  const server = createServer();
  const webSockets = serve(server, accept, options);
  const host = address.host ?? "127.0.0.1";
  await listening(server, `${host}:${address.port}`, () => server.listen(address.port, host));
  return listener(server, webSockets, (server.address() as AddressInfo).port);
}

async function listening(server: Server, where: string, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EADDRINUSE") reject(new NetError("in-use", `${where} is in use already`, { cause }));
      else reject(new NetError("connect", `cannot listen on ${where}: ${cause.message}`, { cause }));
    });
    server.once("listening", resolve);
    listen();
  });
  server.removeAllListeners("error");
  // Errors of single connections (an accept that failed) must not end the process.
  server.on("error", () => {});
}

function checkPath(path: string): void {
  if (Buffer.byteLength(path) > UNIX_PATH_BYTES)
    throw new NetError("connect", `the path of a unix socket has at most ${UNIX_PATH_BYTES} bytes: ${path}`);
}

/** Whether somebody accepts connections on a unix socket. */
async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connectSocket(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}

/**
 * Accepts WebSocket links on a unix socket that only this user can open (mode 0600). A socket file that nobody listens
 * on any more is replaced.
 * @throws NetError `in-use` (somebody listens there), `connect`
 */
export async function listenUnix(path: string, accept: (transport: Transport) => void, options: ListenOptions = {}): Promise<Listener> {
  checkPath(path);
  const start = async (): Promise<Listener> => {
    const server = createServer();
    const webSockets = serve(server, accept, options);
    await listening(server, path, () => {
      // The socket file is made within listen(): with this mask nobody else can open it even for a moment.
      const mask = process.umask(0o177);
      try {
        server.listen(path);
      } finally {
        process.umask(mask);
      }
    });
    chmodSync(path, 0o600);
    return listener(server, webSockets, 0);
  };
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof NetError) || error.code !== "in-use" || (await answers(path))) throw error;
    unlinkSync(path);
    return start();
  }
}

async function connected(url: string, where: string, options: ConnectOptions): Promise<Transport> {
  const limits = linkLimits(options.limits);
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: limits.frameBytes,
    handshakeTimeout: limits.connectMs,
    ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
  });
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      const refused = cause.message.includes("Unexpected server response");
      reject(
        new NetError(
          refused ? "refused" : "connect",
          refused ? `${where} refused the link (token or origin)` : `cannot connect to ${where}: ${cause.message}`,
          { cause },
        ),
      );
    };
    socket.once("error", failed);
    socket.once("open", () => {
      socket.off("error", failed);
      resolve(new WebSocketTransport(socket, limits));
    });
  });
}

/**
 * Connects to a WebSocket endpoint (`ws://` or `wss://`).
 * @throws NetError `connect`, `refused`
 */
export async function connectWebSocket(url: string, options: ConnectOptions = {}): Promise<Transport> {
  return connected(url, url, options);
}

/**
 * Connects to a WebSocket endpoint on a unix socket.
 * @throws NetError `connect`, `refused`
 */
export async function connectUnix(path: string, options: ConnectOptions = {}): Promise<Transport> {
  checkPath(path);
  // ws divides the path of the socket from the path of the request at a colon.
  if (path.includes(":")) throw new NetError("connect", `the path of a unix socket must not contain a colon: ${path}`);
  return connected(`ws+unix://${path}:/`, path, options);
}
