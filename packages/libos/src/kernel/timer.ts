/** Longest delay of one host timer, in milliseconds. */
const LONGEST = 2 ** 31 - 1;
/** A host timer may fire this much before its time, in milliseconds. */
const EARLY = 0.05;

/**
 * Calls `expired` when `now()` has reached `due` (milliseconds), never before. The end of a wait under a millisecond is polled, because host
 * timers have a resolution of one.
 * @returns a function that cancels it
 */
export function at(due: number, now: () => number, expired: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let immediate: NodeJS.Immediate | undefined;
  const arm = (): void => {
    const left = due - now();
    if (left <= EARLY) expired();
    else if (left < 1) immediate = setImmediate(arm);
    else timer = setTimeout(arm, Math.min(Math.floor(left), LONGEST));
  };
  const left = due - now();
  if (left < 1) immediate = setImmediate(arm);
  else timer = setTimeout(arm, Math.min(Math.floor(left), LONGEST));
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}
