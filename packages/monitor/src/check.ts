/**
 * Tests on values that come from a library OS or over a port. What is declared as a number may be anything: NaN, a fraction, negative,
 * a string. Nothing is used before it passed one of these.
 */
import { Limits } from "./abi.ts";

/** An integer in [least, most]. */
export function isInteger(value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

/** A handle: 1 … 2^31 - 1. */
export function isHandle(value: unknown): value is number {
  return isInteger(value, 1, 0x7fff_ffff);
}

export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

export function isString(value: unknown, most: number = Limits.argumentBytes): value is string {
  return typeof value === "string" && value.length <= most;
}

const OCTET = String.raw`(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const ADDRESS = new RegExp(String.raw`^(?:(?:${OCTET}\.){3}${OCTET}|(?:[\da-f]{1,4}:){7}[\da-f]{1,4})$`, "u");

/** Four decimal numbers 0 … 255 without leading zeros, or eight hexadecimal ones. */
export function isAddress(value: unknown): value is string {
  return typeof value === "string" && ADDRESS.test(value);
}

export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** What was thrown, as one line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
