/**
 * Checks of what arrives. A validator returns the value or throws; anything with such a `parse` (a schema of a
 * validation library, for instance) serves as one.
 */
export interface Validator<T> {
  parse(value: unknown): T;
}

/** The type that a validator lets through. */
export type Infer<V> = V extends Validator<infer T> ? T : never;

/** A value that does not fit. `path` says where in the message. */
export class Misfit extends Error {
  override readonly name: string = "Misfit";
  readonly path: readonly (string | number)[];
  readonly expectation: string;
  constructor(expectation: string, path: readonly (string | number)[] = []) {
    super(`${path.length === 0 ? "" : `${path.join(".")}: `}expected ${expectation}`);
    this.expectation = expectation;
    this.path = path;
  }
}

function make<T>(expectation: string, fits: (value: unknown) => boolean): Validator<T> {
  return {
    parse(value) {
      if (!fits(value)) throw new Misfit(expectation);
      return value as T;
    },
  };
}

function within<T>(step: string | number, validator: Validator<T>, value: unknown): T {
  try {
    return validator.parse(value);
  } catch (error) {
    if (error instanceof Misfit) throw new Misfit(error.expectation, [step, ...error.path]);
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

type Shape = { readonly [key: string]: Validator<unknown> };
type OptionalKeys<S extends Shape> = { [K in keyof S]: undefined extends Infer<S[K]> ? K : never }[keyof S];
/** The object type of a shape; keys that may be undefined may be missing. */
export type FromShape<S extends Shape> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Infer<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: Infer<S[K]>;
};

/** An object with these keys and no others. */
export function object<S extends Shape>(shape: S): Validator<FromShape<S>> {
  const keys = Object.keys(shape);
  return {
    parse(value) {
      if (!isRecord(value)) throw new Misfit("an object");
      for (const key of Object.keys(value)) if (!Object.hasOwn(shape, key)) throw new Misfit("no such key", [key]);
      const result: Record<string, unknown> = {};
      for (const key of keys) {
        const entry = within(key, shape[key]!, Object.hasOwn(value, key) ? value[key] : undefined);
        if (entry !== undefined) result[key] = entry;
      }
      return result as FromShape<S>;
    },
  };
}

/** Text of at most `max` UTF-16 units (default 1 Mi). */
export function string(max: number = 1_048_576): Validator<string> {
  return make(`text of at most ${max} characters`, (value) => typeof value === "string" && value.length <= max);
}
/** A finite number. */
export function number(): Validator<number> {
  return make("a finite number", (value) => typeof value === "number" && Number.isFinite(value));
}
/** A safe integer from `min` to `max`, both included. */
export function integer(min: number = Number.MIN_SAFE_INTEGER, max: number = Number.MAX_SAFE_INTEGER): Validator<number> {
  return make(
    `an integer from ${min} to ${max}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
  );
}
export function boolean(): Validator<boolean> {
  return make("true or false", (value) => typeof value === "boolean");
}
/** Bytes; at most `max` of them. */
export function bytes(max: number = Number.MAX_SAFE_INTEGER): Validator<Uint8Array> {
  return make(
    max === Number.MAX_SAFE_INTEGER ? "bytes" : `at most ${max} bytes`,
    (value) => value instanceof Uint8Array && value.length <= max,
  );
}
/** One of some constants. */
export function oneOf<const T extends readonly (string | number | boolean | null)[]>(...values: T): Validator<T[number]> {
  return make(`one of ${values.map((value) => JSON.stringify(value)).join(", ")}`, (value) => values.includes(value as T[number]));
}
/** null; also lets undefined through, which it makes null. */
export function nothing(): Validator<null> {
  return {
    parse(value) {
      if (value !== null && value !== undefined) throw new Misfit("nothing");
      return null;
    },
  };
}
/** Any plain data, unchecked. */
export function unknown(): Validator<unknown> {
  return { parse: (value) => value };
}
export function optional<T>(validator: Validator<T>): Validator<T | undefined> {
  return { parse: (value) => (value === undefined ? undefined : validator.parse(value)) };
}
export function nullable<T>(validator: Validator<T>): Validator<T | null> {
  return { parse: (value) => (value === null ? null : validator.parse(value)) };
}
/** An array of at most `max` entries (default 65536). */
export function array<T>(entry: Validator<T>, max: number = 65536): Validator<readonly T[]> {
  return {
    parse(value) {
      if (!Array.isArray(value) || value.length > max) throw new Misfit(`an array of at most ${max} entries`);
      return value.map((item, index) => within(index, entry, item));
    },
  };
}
/** An object with any keys. */
export function record<T>(entry: Validator<T>, max: number = 65536): Validator<Readonly<Record<string, T>>> {
  return {
    parse(value) {
      if (!isRecord(value) || Object.keys(value).length > max) throw new Misfit(`an object of at most ${max} entries`);
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, within(key, entry, item)]));
    },
  };
}

type Variants = { readonly [tag: string]: Shape };
/** A discriminated union: `variants("kind", { a: {...}, b: {...} })` lets `{ kind: "a", ... }` through. */
export function variants<K extends string, V extends Variants>(
  key: K,
  shapes: V,
): Validator<{ [T in keyof V]: { readonly [P in K]: T } & FromShape<V[T]> }[keyof V]> {
  const byTag = new Map(Object.entries(shapes).map(([tag, shape]) => [tag, object({ ...shape, [key]: oneOf(tag) })]));
  return {
    parse(value) {
      if (!isRecord(value)) throw new Misfit("an object");
      const validator = byTag.get(value[key] as string);
      if (validator === undefined) throw new Misfit(`one of ${[...byTag.keys()].join(", ")}`, [key]);
      return validator.parse(value) as never;
    },
  };
}
