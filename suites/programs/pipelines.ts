/** Pipelines of bash and coreutils, here and in a cVM. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cvm, ensureImage, run } from "../machine.ts";
import { OUTPUT } from "../places.ts";
import type { Counts } from "../result.ts";
import { numbersText, wordsText } from "./texts.ts";

export const IMAGE = "suite-tools";
export const PACKAGES: readonly string[] = [
  "bash",
  "bc",
  "bzip2",
  "coreutils",
  "dash",
  "diffutils",
  "findutils",
  "grep",
  "gzip",
  "mawk",
  "patch",
  "procps",
  "sed",
  "tar",
  "util-linux",
  "xz-utils",
];
const TIMEOUT = 600;
/** Of the pipelines, one of so many is in the small set. */
const SMALL_PART = 3;
const ENVIRONMENT = { LC_ALL: "C", TZ: "UTC", PATH: "/usr/local/bin:/usr/bin:/bin" };
/** Runs all scripts, each in a folder of its own, and keeps what they print and how they end. */
const DRIVER = `cd "$1" || exit 1
for script in *.sh; do
  name=\${script%.sh}
  mkdir "$name" && cp words.txt numbers.txt "$name" && cd "$name" || exit 1
  bash "../$script" > "../$name.out" 2> "../$name.err" < /dev/null
  echo $? > "../$name.status"
  cd ..
done
`;

export interface Pipeline {
  readonly name: string;
  readonly script: string;
}

/** Reads pipelines.txt. */
export function parsePipelines(text: string): Pipeline[] {
  return text
    .split(/^== /mu)
    .slice(1)
    .map((part) => {
      const end = part.indexOf("\n");
      return { name: part.slice(0, end), script: `${part.slice(end + 1).trimEnd()}\n` };
    });
}

function fileOf(index: number): string {
  return String(index).padStart(2, "0");
}

function prepare(folder: string, pipelines: readonly Pipeline[]): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "words.txt"), wordsText(400));
  writeFileSync(join(folder, "numbers.txt"), numbersText(2000));
  writeFileSync(join(folder, "driver"), DRIVER);
  pipelines.forEach(({ script }, index) => writeFileSync(join(folder, `${fileOf(index)}.sh`), script));
}

function resultOf(folder: string, index: number): { readonly output: string; readonly status: string } {
  try {
    const read = (kind: string): string => readFileSync(join(folder, `${fileOf(index)}.${kind}`), "latin1");
    return { output: read("out"), status: read("status").trim() };
  } catch {
    return { output: "", status: "did not run" };
  }
}

/** First line in which two texts differ. */
function difference(here: string, there: string): string {
  const [ours, theirs] = [here.split("\n"), there.split("\n")] as const;
  const at = ours.findIndex((line, index) => line !== theirs[index]);
  const line = at < 0 ? ours.length : at;
  return `line ${line + 1}: ${JSON.stringify((theirs[line] ?? "").slice(0, 100))}, not ${JSON.stringify((ours[line] ?? "").slice(0, 100))}`;
}

export async function runPipelines(small: boolean, say: (text: string) => void): Promise<Counts> {
  await ensureImage(IMAGE, PACKAGES, say);
  const all = parsePipelines(readFileSync(join(import.meta.dirname, "pipelines.txt"), "utf8"));
  const pipelines = small ? all.filter((_, index) => index % SMALL_PART === 0) : all;
  const [here, there] = [join(OUTPUT, "pipelines-here"), join(OUTPUT, "pipelines-cvm")] as const;
  prepare(here, pipelines);
  prepare(there, pipelines);
  await run("bash", ["driver", "."], { timeout: TIMEOUT, cwd: here, env: ENVIRONMENT });
  const environment = Object.entries(ENVIRONMENT).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  // The folders of the scripts are in the cVM's own layer: results come back by the volume.
  // The link is made by mawk's own script, which does not run when an image is made.
  const command = `ln -sf mawk /usr/bin/awk; mkdir /scratch && cp /data/* /scratch && bash /data/driver /scratch; cp /scratch/*.out /scratch/*.err /scratch/*.status /data`;
  const ended = await cvm(["run", "--rm", "-m", "512m", ...environment, "-v", `${there}:/data`, IMAGE, "bash", "-c", command], {
    timeout: TIMEOUT,
    keep: "pipelines.txt",
  });
  const failed: string[] = [];
  for (const [index, { name }] of pipelines.entries()) {
    const [ours, theirs] = [resultOf(here, index), resultOf(there, index)];
    if (ours.status === "did not run") failed.push(`${name}: did not run on this machine`);
    else if (ours.output !== theirs.output) failed.push(`${name}: ${difference(ours.output, theirs.output)}`);
    else if (ours.status !== theirs.status) failed.push(`${name}: ended with ${theirs.status}, not ${ours.status}`);
  }
  if (ended.status !== 0) say(`pipelines: the cVM ended with ${ended.status}: ${ended.output.trim().slice(-300)}`);
  return { run: pipelines.length, passed: pipelines.length - failed.length, skipped: 0, failed };
}
