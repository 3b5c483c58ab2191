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

/** Four decimal numbers 0 … 255 without leading zeros. */
export function isAddress(value: unknown): value is string {
  if (typeof value !== "string" || value.length > 15) return false;
  const parts = value.split(".");
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/u.test(part) && Number(part) <= 255);
}

export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** What was thrown, as one line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
