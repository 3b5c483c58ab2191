import { connect as connectSocket } from "node:net";
import type { Socket } from "node:net";
import type { Frame } from "@cvm/libos";
import { FrameKind, RELAY } from "@cvm/libos";
import type { Incoming, Uplink } from "@cvm/monitor";
import { HOST_ADDRESS, sixOf } from "@cvm/monitor";
import type { Endpoint } from "@cvm/monitor/abi";
import { placeOf } from "./addresses.ts";
import { DEFAULT_NETWORK_NAME } from "../protocol.ts";
import type { NetworkGroup } from "../protocol.ts";
import { carry } from "./carry.ts";
import { Conversation, errorFrame, IDLE_MS, Recent, RelayEnd } from "./datagrams.ts";
import { NameResolver } from "./resolver.ts";

/** What a cVM may reach besides itself: `bridge` the other cVMs and the outside, `internal` the other cVMs, `none` nothing. */
export type NetworkMode = "bridge" | "internal" | "none";

export interface Policy {
  readonly mode: NetworkMode;
  /** Whether the gateway's address leads to this machine's loopback. */
  readonly gateway: boolean;
  /** Name servers instead of this machine's. */
  readonly dns?: readonly string[];
  /** Networks that it is in; {@link DEFAULT_NETWORK_NAME} unless given. */
  readonly groups?: readonly NetworkGroup[] | undefined;
}
const DEFAULT_GROUPS: readonly NetworkGroup[] = [{ name: DEFAULT_NETWORK_NAME, aliases: [] }];

const ENETUNREACH = 101;
const EHOSTUNREACH = 113;
const EADDRNOTAVAIL = 99;
const ENOBUFS = 105;
const ECONNREFUSED = 111;
/** Errors of Linux (asm-generic) by the names that Node.js gives them. */
const ERRORS: Readonly<Record<string, number>> = {
  ECONNREFUSED,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ENETUNREACH,
  EHOSTUNREACH,
  EADDRNOTAVAIL,
  EACCES: 13,
  EPERM: 1,
  EMSGSIZE: 90,
  // Of this machine, not of the cVM: for it there is no way to connect.
  EMFILE: EADDRNOTAVAIL,
  ENFILE: EADDRNOTAVAIL,
  ENOBUFS,
};

export const errnoOf = (error: NodeJS.ErrnoException): number => ERRORS[error.code ?? ""] ?? EHOSTUNREACH;

/** Where a cVM's traffic goes: an address of the operating system, or the error that it meets. */
export type Route = { readonly address: string; readonly family: 4 | 6 } | { readonly errno: number };

export interface UplinkLimits {
  /** Connections to the outside at once, being made or standing: of one cVM, and of all. */
  readonly each: number;
  readonly all: number;
  /** Conversations by datagrams of one cVM; a new one ends the one that was used least. */
  readonly conversations: number;
  /** Of all cVMs: there are no more then. */
  readonly allConversations: number;
}
export const DEFAULT_LIMITS: UplinkLimits = { each: 1024, all: 4096, conversations: 256, allConversations: 2048 };

/** Who sends to a published port: replies go back the same way. */
export interface Visitor {
  used: number;
  reply(bytes: Uint8Array): void;
  close(): void;
}

interface Member {
  readonly address: string;
  readonly policy: Policy;
  readonly sockets: Set<Socket>;
  readonly names: NameResolver;
  relay: RelayEnd | null;
  readonly conversations: Recent<Conversation>;
  /** By the port that they have on the gateway, and the cVM's. */
  readonly visitors: Map<string, Visitor>;
}

/** Response code of RFC 1035. */
const NO_SUCH_NAME = 3;

/** Who of a host's cVMs may reach what, and their connections to the outside, which this process makes for them. */
export class HostNetwork {
  readonly #members: Map<string, Member> = new Map();
  readonly #limits: UplinkLimits;
  #connections = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(limits: Partial<UplinkLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  /** A cVM begins to use the network. Before, it reaches nothing. What is returned ends that, and its connections with it. */
  join(address: string, policy: Policy): () => void {
    const member: Member = {
      address,
      policy,
      sockets: new Set(),
      names: new NameResolver(policy.dns),
      relay: null,
      conversations: new Recent(this.#limits.conversations),
      visitors: new Map(),
    };
    this.#members.set(address, member).set(sixOf(address), member);
    this.#sweeper ??= setInterval(() => {
      const before = performance.now() - IDLE_MS;
      for (const { conversations } of this.#members.values()) conversations.sweep(before);
    }, IDLE_MS / 4).unref();
    return () => {
      if (this.#members.get(address) === member) this.#leave(member);
    };
  }

  #leave(member: Member): void {
    this.#members.delete(member.address);
    this.#members.delete(sixOf(member.address));
    for (const socket of member.sockets) socket.resetAndDestroy();
    member.relay?.close();
    member.names.close();
    member.conversations.clear();
    if (this.#members.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  /** See {@link NetworkOptions.permits}. */
  readonly permits = (from: string, to: string): boolean => this.#common(from, to).length > 0;

  /** See {@link NetworkOptions.aliases}. */
  readonly aliases = (viewer: string, of: string): readonly string[] => this.#common(viewer, of).flatMap((group) => group.aliases);

  /** The networks of one that the other is in too. */
  #common(other: string, one: string): readonly NetworkGroup[] {
    const [theirs, ours] = [this.#members.get(other)?.policy, this.#members.get(one)?.policy];
    if (theirs === undefined || ours === undefined || theirs.mode === "none" || ours.mode === "none") return [];
    const names = (theirs.groups ?? DEFAULT_GROUPS).map((group) => group.name);
    return (ours.groups ?? DEFAULT_GROUPS).filter((group) => names.includes(group.name));
  }

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
    if (to.address === RELAY.address && to.port === RELAY.port && member.policy.mode !== "none") {
      member.relay?.close();
      member.relay = new RelayEnd(
        (events) => incoming.accept(events),
        (frame) => this.#frame(member, frame),
      );
      return undefined;
    }
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

  /** What a cVM's relay stream brought. It is the sender, whatever a frame says. */
  #frame(member: Member, frame: Frame): void {
    const { kind, address, remotePort, localPort, bytes } = frame;
    if (kind === FrameKind.QUERY) {
      void this.#names(member, bytes).then((answer) => member.relay?.send({ ...frame, kind: FrameKind.ANSWER, bytes: answer }));
      return;
    }
    if (kind === FrameKind.ANSWER || remotePort === 0 || localPort === 0) return;
    const other = this.#members.get(address);
    const own = address.includes(":") ? sixOf(member.address) : member.address;
    if (other !== undefined) {
      const back = { kind, address: own, remotePort: localPort, localPort: remotePort, bytes };
      const reached = this.permits(member.address, other.address);
      if (reached && other.relay?.closed === false) other.relay.send(back);
      // An error is not answered by another.
      else if (kind === FrameKind.DATA) member.relay?.send(errorFrame(frame, reached ? ECONNREFUSED : EHOSTUNREACH));
      return;
    }
    if (kind === FrameKind.ERROR) return;
    const visitor = placeOf(address).kind === "gateway" ? member.visitors.get(`${remotePort} ${localPort}`) : undefined;
    if (visitor === undefined) this.#converse(member, frame);
    else {
      visitor.used = performance.now();
      visitor.reply(bytes);
    }
  }

  async #names({ policy, names }: Member, question: Uint8Array): Promise<Uint8Array> {
    return policy.mode === "bridge" ? names.answer(question) : Uint8Array.of(NO_SUCH_NAME);
  }

  /** A datagram to the outside. */
  #converse(member: Member, frame: Frame): void {
    const { address, remotePort, localPort, bytes } = frame;
    const route = this.route(member.policy, address);
    const fail = (errno: number): void => member.relay?.send(errorFrame(frame, errno));
    if ("errno" in route) return fail(route.errno);
    const key = `${localPort} ${address} ${remotePort}`;
    let conversation = member.conversations.get(key);
    if (conversation === undefined) {
      let all = 0;
      for (const [own, { conversations }] of this.#members) if (!own.includes(":")) all += conversations.size;
      if (all >= this.#limits.allConversations) return fail(ENOBUFS);
      conversation = new Conversation(
        route,
        remotePort,
        (answer) => member.relay?.send({ kind: FrameKind.DATA, address, remotePort, localPort, bytes: answer }),
        (error, over) => {
          fail(errnoOf(error));
          if (over) member.conversations.remove(key);
        },
      );
      member.conversations.add(key, conversation);
    }
    conversation.send(bytes);
    return undefined;
  }

  /**
   * A datagram for a published port of a cVM, from a visitor who has `remotePort` on the gateway. It is lost when the cVM does not
   * use datagrams.
   */
  deliver(address: string, remotePort: number, localPort: number, bytes: Uint8Array): void {
    this.#members.get(address)?.relay?.send({ kind: FrameKind.DATA, address: HOST_ADDRESS, remotePort, localPort, bytes });
  }

  /** Who replies of a cVM's port to a port of the gateway go to. False when that port of the gateway is taken, or the cVM is gone. */
  visit(address: string, remotePort: number, localPort: number, visitor: Visitor): boolean {
    const visitors = this.#members.get(address)?.visitors;
    const key = `${remotePort} ${localPort}`;
    if (visitors === undefined || visitors.has(key)) return false;
    visitors.set(key, visitor);
    return true;
  }
  leaveVisit(address: string, remotePort: number, localPort: number): void {
    this.#members.get(address)?.visitors.delete(`${remotePort} ${localPort}`);
  }
}
