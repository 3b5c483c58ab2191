import type { Awaitable } from "@cvm/monitor/abi";

/** Whether an answer is still to come. */
export const isPromise = <T>(value: Awaitable<T>): value is PromiseLike<T> =>
  typeof value === "object" && value !== null && "then" in value;

/** Goes on with a value at once when it is there, as with a monitor in the same process, and later when it is a promise. */
export function whenReady<T, R>(value: Awaitable<T>, then: (value: T) => Awaitable<R>): Awaitable<R> {
  return isPromise(value) ? value.then(then) : then(value);
}

/** Nobody waits for an answer, nor for the failure to get one when the cVM is over. */
export function forget(value: Awaitable<unknown>): void {
  if (isPromise(value)) value.then(undefined, () => {});
}

/** Runs `step` until it answers false: in a loop where answers come at once, so that no length of a list is too much for the stack. */
export function repeat(step: () => Awaitable<boolean>): Awaitable<void> {
  for (;;) {
    const more = step();
    if (isPromise(more)) return more.then((again) => (again ? repeat(step) : undefined));
    if (!more) return undefined;
  }
}
