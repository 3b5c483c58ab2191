/**
 * Why a link or a request of this package failed:
 * - `closed`: this side or the peer ended the link;
 * - `lost`: the link broke without a goodbye;
 * - `connect`: no link could be made;
 * - `in-use`: another process listens there already;
 * - `refused`: the peer did not accept this side (token, origin);
 * - `protocol`: a frame that is malformed, unknown or out of place, or another protocol or version on the other side;
 * - `limit`: a limit of {@link LinkLimits} or {@link PortLimits} was passed;
 * - `timeout`: no answer in time;
 * - `aborted`: the caller gave a request up;
 * - `invalid`: a value that the protocol does not allow, found before it was sent.
 */
export type NetErrorCode = "closed" | "lost" | "connect" | "in-use" | "refused" | "protocol" | "limit" | "timeout" | "aborted" | "invalid";

/** An error of a link. The message starts with its code in brackets. */
export class NetError extends Error {
  override readonly name: string = "NetError";
  readonly code: NetErrorCode;

  constructor(code: NetErrorCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.code = code;
  }
}

/**
 * The answer of a peer that refused a request. Codes are the peer's own; this package answers `unknown-method`,
 * `invalid-params`, `busy` and, for errors without a code, `internal`.
 */
export class RemoteError extends Error {
  override readonly name: string = "RemoteError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
