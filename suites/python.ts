/** CPython's regression tests, each module in a cVM of its own. */
import { cvm, cvmOk, ensureImage, run, type Ended } from "./machine.ts";
import { parsePython } from "./python-output.ts";
import type { ModuleResult } from "./result.ts";
import type { Settings } from "./arguments.ts";

export const IMAGE = "suite-python";
/** The tests, and what a Debian system has that they start or read. */
export const PACKAGES: readonly string[] = [
  "python3.13",
  "python3",
  "libpython3.13-testsuite",
  "bash",
  "coreutils",
  "dash",
  "libc-bin",
  "ca-certificates",
  "media-types",
  "netbase",
  "openssl",
  "procps",
  "tar",
  "tzdata",
  "unzip",
  "zip",
];
const ENVIRONMENT = ["-e", "LANG=C.UTF-8"];

function resultOf(module: string, ended: Ended): ModuleResult {
  const { complete, last, ...counts } = parsePython(ended.output);
  const broken = ended.timedOut ? "timed out" : complete ? undefined : `ended with ${ended.status}`;
  return {
    suite: "python",
    module,
    ...counts,
    seconds: ended.seconds,
    ...(broken === undefined ? {} : { broken: last === undefined ? broken : `${broken} after ${last} began` }),
  };
}

/** One cVM for all modules: what Python compiles once is there for those that follow. */
const SHARED = "python-small";

async function startShared(memory: string): Promise<void> {
  await cvm(["rm", "-f", SHARED]);
  await cvmOk(["run", "-d", "--name", SHARED, "-m", memory, ...ENVIRONMENT, IMAGE, "sleep", "infinity"]);
}

/** Runs modules in turn; tells each result when it is there. */
export async function runPython(
  modules: readonly string[],
  settings: Settings,
  say: (text: string) => void,
  tell: (result: ModuleResult) => void,
): Promise<void> {
  await ensureImage(IMAGE, PACKAGES, say);
  if (settings.small) await startShared(settings.memory);
  for (const module of modules) {
    say(`python ${module}`);
    const name = settings.small ? SHARED : module.replaceAll(/[._]/gu, "-");
    const where = settings.small
      ? ["exec", ...ENVIRONMENT, name]
      : ["run", "--rm", "--name", name, "-m", settings.memory, ...ENVIRONMENT, IMAGE];
    const args = [...where, "python3.13", "-m", "test", "-v", module];
    const ended = await cvm(args, { timeout: settings.timeout, keep: `python-${module}.txt` });
    if (ended.timedOut) await (settings.small ? startShared(settings.memory) : cvm(["rm", "-f", name]));
    const result = resultOf(module, ended);
    if (settings.native === undefined) tell(result);
    else tell(await beside(result, settings.native, settings.timeout));
  }
  if (settings.small) await cvm(["rm", "-f", SHARED]);
}

/** Leaves of a result's failures those that the same module on this machine does not have. */
async function beside(result: ModuleResult, python: string, timeout: number): Promise<ModuleResult> {
  const native = resultOf(
    result.module,
    await run(python, ["-m", "test", "-v", result.module], { timeout, keep: `native-${result.module}.txt`, env: { LANG: "C.UTF-8" } }),
  );
  const also = new Set(native.failed);
  return { ...result, failed: result.failed.map((name) => (also.has(name) ? `${name} (here too)` : name)) };
}
