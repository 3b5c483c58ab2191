/** The suite `programs`: what programs do in cVMs, beside what they do on this machine. */
import type { ProgramName } from "../modules.ts";
import type { Counts, ModuleResult } from "../result.ts";
import { UnavailableError } from "../unavailable.ts";
import { runNginx } from "./nginx.ts";
import { runPipelines } from "./pipelines.ts";
import { runEsbuild, runNode } from "./runtimes.ts";
import { runSpeedtest } from "./speedtest.ts";

type Say = (text: string) => void;

const RUN: Readonly<Record<ProgramName, (small: boolean, say: Say) => Promise<Counts>>> = {
  pipelines: runPipelines,
  speedtest1: runSpeedtest,
  esbuild: runEsbuild,
  node: runNode,
  nginx: runNginx,
};

export async function runPrograms(names: readonly string[], small: boolean, say: Say, tell: (result: ModuleResult) => void): Promise<void> {
  for (const name of names as readonly ProgramName[]) {
    say(`programs ${name}`);
    const start = performance.now();
    const seconds = (): number => (performance.now() - start) / 1000;
    try {
      const counts = await RUN[name](small, say);
      tell({ suite: "programs", module: name, ...counts, seconds: seconds() });
    } catch (error) {
      if (error instanceof UnavailableError) say(`LEFT OUT: ${name}: ${error.message}`);
      else {
        const broken = error instanceof Error ? error.message : String(error);
        tell({ suite: "programs", module: name, run: 0, passed: 0, skipped: 0, failed: [], seconds: seconds(), broken });
      }
    }
  }
}
