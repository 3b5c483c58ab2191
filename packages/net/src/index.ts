/**
 * Typed request, reply and event messages over links: between components in one process, between threads, between processes.
 */
export { NetError, RemoteError } from "./errors.ts";
export type { NetErrorCode } from "./errors.ts";
export { defaultLinkLimits } from "./transport.ts";
export type { CloseCode, Data, Frame, LinkLimits, Transport, TransportEvents } from "./transport.ts";
export { memoryPair } from "./memory.ts";
export { messagePortTransport } from "./message-port.ts";
export { connectUnix, connectWebSocket, listenUnix, listenWebSocket } from "./websocket.ts";
export type { ConnectOptions, Listener, ListenOptions } from "./websocket.ts";
export * as v from "./validators.ts";
export { Misfit } from "./validators.ts";
export type { FromShape, Infer, Validator } from "./validators.ts";
export { defineProtocol, silent } from "./protocol.ts";
export type {
  EventOf,
  Events,
  Methods,
  NoEntries,
  Opposite,
  ParamsOf,
  Protocol,
  RequestDefinition,
  ResultOf,
  Role,
  Side,
} from "./protocol.ts";
export { defaultPortLimits, openPort, Port } from "./port.ts";
export type { Handlers, PortLimits, RequestContext, RequestOptions } from "./port.ts";
export { echoProtocol, serveEcho } from "./echo.ts";
export { compliance } from "./compliance.ts";
export type { ComplianceCase } from "./compliance.ts";
