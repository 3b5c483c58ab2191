import { connect as connectSocket } from "node:net";
import type { Socket } from "node:net";
import type { Incoming, Uplink } from "@cvm/monitor";
import { sixOf } from "@cvm/monitor";
import type { Endpoint } from "@cvm/monitor/abi";
import { placeOf } from "./addresses.ts";
import { carry } from "./carry.ts";

/** What a cVM may reach besides itself: `bridge` the other cVMs and the outside, `internal` the other cVMs, `none` nothing. */
export type NetworkMode = "bridge" | "internal" | "none";

export interface Policy {
  readonly mode: NetworkMode;
  /** Whether the gateway's address leads to this machine's loopback. */
  readonly gateway: boolean;
}

/** Errors of Linux (asm-generic) by the names that Node.js gives them. */
const ERRORS: Readonly<Record<string, number>> = {
  ECONNREFUSED: 111,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ENETUNREACH: 101,
  EHOSTUNREACH: 113,
  EADDRNOTAVAIL: 99,
  EACCES: 13,
  EPERM: 1,
  // Of this machine, not of the cVM: for it there is no way to connect.
  EMFILE: 99,
  ENFILE: 99,
  ENOBUFS: 105,
};
const { ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL } = ERRORS as Readonly<Record<"ENETUNREACH" | "EHOSTUNREACH" | "EADDRNOTAVAIL", number>>;

export const errnoOf = (error: NodeJS.ErrnoException): number => ERRORS[error.code ?? ""] ?? EHOSTUNREACH;

/** Where a cVM's traffic goes: an address of the operating system, or the error that it meets. */
export type Route = { readonly address: string; readonly family: 4 | 6 } | { readonly errno: number };

export interface UplinkLimits {
  /** Connections to the outside at once, being made or standing: of one cVM, and of all. */
  readonly each: number;
  readonly all: number;
}
export const DEFAULT_LIMITS: UplinkLimits = { each: 1024, all: 4096 };

interface Member {
  readonly policy: Policy;
  readonly sockets: Set<Socket>;
}

/** Who of a host's cVMs may reach what, and their connections to the outside, which this process makes for them. */
export class HostNetwork {
  readonly #members: Map<string, Member> = new Map();
  readonly #limits: UplinkLimits;
  #connections = 0;

  constructor(limits: UplinkLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** A cVM begins to use the network. Before, it reaches nothing. */
  join(address: string, policy: Policy): void {
    const member: Member = { policy, sockets: new Set() };
    this.#members.set(address, member).set(sixOf(address), member);
  }

  /** A cVM is gone: so are its connections. */
  leave(address: string): void {
    const member = this.#members.get(address);
    this.#members.delete(address);
    this.#members.delete(sixOf(address));
    for (const socket of member?.sockets ?? []) socket.resetAndDestroy();
  }

  /** See {@link NetworkOptions.permits}. */
  readonly permits = (from: string, to: string): boolean =>
    [from, to].every((address) => (this.#members.get(address)?.policy.mode ?? "none") !== "none");

  /** Where what a cVM sends to an address goes, that no cVM has. */
  route(policy: Policy, address: string): Route {
    if (policy.mode === "none") return { errno: ENETUNREACH };
    const place = placeOf(address);
    if (place.kind === "refused") return { errno: ENETUNREACH };
    if (place.kind === "gateway" && policy.gateway) return { address: "127.0.0.1", family: 4 };
    if (place.kind !== "outside") return { errno: EHOSTUNREACH };
    return policy.mode === "bridge" ? place : { errno: ENETUNREACH };
  }

  /** Makes a connection for a cVM. */
  readonly uplink: Uplink = (to: Endpoint, incoming: Incoming): void => {
    const member = this.#members.get(incoming.from.address);
    if (member === undefined) return incoming.refuse(ENETUNREACH);
    const route = this.route(member.policy, to.address);
    if ("errno" in route) return incoming.refuse(route.errno);
    if (member.sockets.size >= this.#limits.each || this.#connections >= this.#limits.all) return incoming.refuse(EADDRNOTAVAIL);
    const socket = connectSocket({ host: route.address, port: to.port, family: route.family, allowHalfOpen: true, noDelay: true });
    member.sockets.add(socket);
    this.#connections++;
    socket.once("close", () => {
      member.sockets.delete(socket);
      this.#connections--;
    });
    const failed = (error: Error): void => incoming.refuse(errnoOf(error));
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.off("error", failed);
      carry(socket, true, (events) => incoming.accept(events));
    });
    return undefined;
  };
}
