/** Job control: who may use a terminal, and what becomes of stopped groups that nobody can continue (drivers/tty/tty_jobctrl.c, kernel/exit.c). */
import { sendSignal } from "./delivery.ts";
import { E } from "./errno.ts";
import type { LinuxKernel } from "./kernel.ts";
import type { LinuxContext, LinuxProcess } from "./process.ts";
import { bit, Sig, SIG_DFL, SIG_IGN, signalInfo } from "./signals.ts";

/** Whether no process of the group has a parent in another group of its session: nobody would continue the group. `ignored`: one that is ending. */
export function isOrphaned(kernel: LinuxKernel, group: number, ignored: LinuxProcess | null = null): boolean {
  for (const process of kernel.processes.values()) {
    if (process.pgid !== group || process === ignored || process.ended) continue;
    const { parent } = process;
    if (parent !== null && parent.pgid !== group && parent.sid === process.sid) return false;
  }
  return true;
}

/** Sends a signal of the kernel to a process group. */
export function signalGroup(kernel: LinuxKernel, group: number, signal: number): void {
  for (const process of kernel.processes.values())
    if (process.pgid === group && !process.ended) sendSignal(process, signal, signalInfo(undefined));
}

/**
 * A process of the background uses its terminal: SIGTTIN or SIGTTOU for its group.
 * @returns 0 when it may go on (SIGTTOU is ignored or blocked), -EIO (SIGTTIN is; or the group is orphaned), -EINTR when the call is to be made
 *   again after the signal
 */
export function stopBackground({ kernel, process, thread }: LinuxContext, signal: number): number {
  const { handler } = process.actions[signal]!;
  if (handler === SIG_IGN || (thread.mask & bit(signal)) !== 0n) return signal === Sig.TTIN ? -E.IO : 0;
  // The first process is not stopped by what it does itself, so that making the call again would never end.
  if (isOrphaned(kernel, process.pgid) || (process === kernel.init && handler === SIG_DFL)) return -E.IO;
  signalGroup(kernel, process.pgid, signal);
  thread.attention = true;
  thread.restartable = true;
  return -E.INTR;
}

/** A process ended, or lost `parent`: when its group was continued by that parent only, stopped ones of it are told and go on. */
export function releaseStopped(process: LinuxProcess, parent: LinuxProcess | null, ending: boolean): void {
  const { kernel, pgid, sid } = process;
  if (parent === null || parent.pgid === pgid || parent.sid !== sid) return;
  if (!isOrphaned(kernel, pgid, ending ? process : null)) return;
  for (const member of kernel.processes.values()) {
    if (member.pgid !== pgid || member.stopped === 0 || member.ended) continue;
    signalGroup(kernel, pgid, Sig.HUP);
    signalGroup(kernel, pgid, Sig.CONT);
    return;
  }
}
