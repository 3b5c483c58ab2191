/** What the host process asks of the kernel for each acknowledged write. */
import { spawn } from "node:child_process";

export interface Sync {
  readonly call: "fsync" | "fdatasync";
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly begin: number;
  readonly end: number;
  readonly result: number;
}

const WHOLE = /^(?:\[pid +\d+\] )?(\d+\.\d+) (fsync|fdatasync)\(\d+<([^>]*)>\) += (-?\d+).*<(\d+\.\d+)>$/u;
const BEGUN = /^\[pid +(\d+)\] (\d+\.\d+) (fsync|fdatasync)\(\d+<([^>]*)> <unfinished \.\.\.>$/u;
const RESUMED = /^\[pid +(\d+)\] (\d+\.\d+) <\.\.\. (?:fsync|fdatasync) resumed>\) += (-?\d+)/u;

/** Reads what `strace -f -y -ttt -T` prints of these two calls. */
export function parseSyncs(text: string): Sync[] {
  const syncs: Sync[] = [];
  const begun = new Map<string, Omit<Sync, "end" | "result">>();
  for (const line of text.split("\n")) {
    const whole = WHOLE.exec(line);
    if (whole !== null) {
      const [, at, call, path, result, seconds] = whole as unknown as string[];
      const begin = Number(at) * 1000;
      syncs.push({ call: call as Sync["call"], path: path!, begin, end: begin + Number(seconds) * 1000, result: Number(result) });
      continue;
    }
    const start = BEGUN.exec(line);
    if (start !== null) {
      const [, thread, at, call, path] = start as unknown as string[];
      begun.set(thread!, { call: call as Sync["call"], path: path!, begin: Number(at) * 1000 });
      continue;
    }
    const end = RESUMED.exec(line);
    const earlier = end === null ? undefined : begun.get(end[1]!);
    if (end === null || earlier === undefined) continue;
    begun.delete(end[1]!);
    syncs.push({ ...earlier, end: Number(end[2]) * 1000, result: Number(end[3]) });
  }
  return syncs;
}

/** Runs an action while strace looks at a process. @throws Error when strace may not, or is not there */
export async function traceSyncs(pid: number, action: () => Promise<void>): Promise<Sync[]> {
  const child = spawn("strace", ["-f", "-y", "-ttt", "-T", "-e", "trace=fsync,fdatasync", "-p", String(pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", () => resolve());
  });
  const attached = new Promise<void>((resolve) => {
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes(" attached")) resolve();
    });
  });
  await Promise.race([attached, ended]);
  if (!text.includes(" attached")) throw new Error(`strace cannot look at the host: ${text.trim() || "it is not here"}`);
  try {
    await action();
  } finally {
    child.kill("SIGINT");
    await ended;
  }
  return parseSyncs(text);
}
