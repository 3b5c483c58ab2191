import type { Infer, Validator } from "./validators.ts";

/** A request: what it takes and what it answers. */
export interface RequestDefinition {
  readonly params: Validator<unknown>;
  readonly result: Validator<unknown>;
}

/** What one side may say. */
export interface Side {
  readonly requests: { readonly [method: string]: RequestDefinition };
  readonly events: { readonly [event: string]: Validator<unknown> };
}

/** The two sides of a conversation. Both ends of a link must have the same name and version. */
export interface Protocol {
  readonly name: string;
  /** Raised by every change after which old and new do not understand each other. */
  readonly version: number;
  /** What the client says (the side that connected). */
  readonly client: Side;
  readonly server: Side;
}

export type Role = "client" | "server";
export type Opposite<R extends Role> = R extends "client" ? "server" : "client";

export type Methods<S extends Side> = Extract<keyof S["requests"], string>;
export type Events<S extends Side> = Extract<keyof S["events"], string>;
export type ParamsOf<S extends Side, M extends Methods<S>> = Infer<S["requests"][M]["params"]>;
export type ResultOf<S extends Side, M extends Methods<S>> = Infer<S["requests"][M]["result"]>;
export type EventOf<S extends Side, E extends Events<S>> = Infer<S["events"][E]>;

// oxlint-disable-next-line typescript/no-generated-empty-object-type -- it has to be a type without any key
export type NoEntries = Record<never, never>;

/** A side that says nothing. */
export const silent: { readonly requests: NoEntries; readonly events: NoEntries } = { requests: {}, events: {} };

/** Declares a protocol: returns it as it is, with its exact type. */
export function defineProtocol<const P extends Protocol>(protocol: P): P {
  return protocol;
}
