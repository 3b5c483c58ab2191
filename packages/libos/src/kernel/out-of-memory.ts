/** What becomes of a cVM whose memory is used up: mm/oom_kill.c of Linux, in short. */
import type { Awaitable } from "@cvm/monitor/abi";
import type { LinuxKernel } from "./kernel.ts";
import type { LinuxProcess } from "./process.ts";
import { whenReady } from "./ready.ts";

/** The process that uses most memory, to be killed so that the others go on; `asking` if no other uses more. Says so in the cVM's log. */
export function largest(kernel: LinuxKernel, asking: LinuxProcess): Awaitable<LinuxProcess> {
  return whenReady(kernel.memory.uses(), (uses) => {
    let victim = asking;
    for (const process of kernel.processes.values())
      if (!process.ended && (uses.get(process.space) ?? 0) > (uses.get(victim.space) ?? 0)) victim = process;
    const kib = (bytes: number): string => `${Math.ceil(bytes / 1024)} KiB`;
    kernel.host.trace(
      `out of memory: killed process ${victim.pid} (${victim.name}), which uses ${kib(uses.get(victim.space) ?? 0)} of ${kib(kernel.memory.limit)}`,
    );
    return victim;
  });
}
