/** When a cVM is started again by itself. */
import type { CvmState, RestartPolicy } from "./protocol.ts";

export const NO_RESTART: RestartPolicy = { name: "no", most: 0 };

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** One that ran for so long is not what fails at once again: its next restart comes soon. */
export const STEADY_MS = 10_000;

function policyOf(state: CvmState): RestartPolicy {
  return state.config.restart ?? NO_RESTART;
}

function hasRestartsLeft(state: CvmState): boolean {
  const { most } = policyOf(state);
  return most === 0 || (state.restarts ?? 0) < most;
}

/** Whether a cVM that has just ended, or whose restart has just failed, is started again. Its user's stop and kill count. */
export function restartsAfterEnd(state: CvmState): boolean {
  if (state.stopped === true) return false;
  const { name } = policyOf(state);
  return name === "always" || name === "unless-stopped" || (name === "on-failure" && state.exitCode !== 0 && hasRestartsLeft(state));
}

/**
 * Whether a cVM is started when a host comes up.
 * @param ran it ran when the former host died, which counts as a failure
 */
export function restartsWithHost(state: CvmState, ran: boolean): boolean {
  if (state.status === "created") return false;
  const { name } = policyOf(state);
  return (
    name === "always" || (name === "unless-stopped" && state.stopped !== true) || (name === "on-failure" && ran && hasRestartsLeft(state))
  );
}

/** Milliseconds before the next restart, after so many in a row. */
export function restartDelay(inARow: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** inARow, LONGEST_DELAY_MS);
}
