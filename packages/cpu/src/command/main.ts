/** The command line of `cvm-cpu`: finds the command, parses its options, and turns errors into exit statuses. */
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkArithmeticCommand } from "./check-arithmetic.ts";
import { UsageError, type Command, type Io } from "./command.ts";
import { replayCommand } from "./replay.ts";
import { runCommand } from "./run-command.ts";
import { rvfiCommand } from "./rvfi.ts";

/** All commands, in the order in which help prints them. */
export const COMMANDS: readonly Command[] = [runCommand, checkArithmeticCommand, replayCommand, rvfiCommand];

const HELP = { help: { type: "boolean", short: "h" } } as const;

const usageOf = ({ name, usage }: Command): string => `cvm-cpu ${name} ${usage}`.trimEnd();

/** What `--help` prints. */
export function help(commands: readonly Command[] = COMMANDS): string {
  const lines = commands.flatMap((command) => [`  ${usageOf(command)}`, `      ${command.summary}`]);
  return ["Usage:", ...lines, "  cvm-cpu --help | --version", ""].join("\n");
}

/** Writes all of `data`: a pipe whose reader is slow takes it in pieces, and one whose reader has gone away takes nothing more. */
function write(descriptor: number, data: string | Uint8Array): void {
  let rest = typeof data === "string" ? new TextEncoder().encode(data) : data;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
    }
  }
}

const standardIo: Io = {
  out: (data) => write(1, data),
  err: (data) => write(2, data),
  readFile: (path) => readFileSync(path),
  writeFile: (path, bytes) => writeFileSync(path, bytes),
};

function version(): string {
  return (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}

/** Errors of `parseArgs` are the user's. */
function isUsage(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" && code.startsWith("ERR_PARSE_ARGS");
}

/** Runs a command line (without the program's name). The exit status: 0 done, 1 it failed, 2 the command line is wrong. */
export async function main(args: readonly string[], io: Io = standardIo, commands: readonly Command[] = COMMANDS): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--help" || name === "-h" || name === "help") {
    io.out(help(commands));
    return 0;
  }
  if (name === "--version") {
    io.out(`${version()}\n`);
    return 0;
  }
  const command = commands.find((candidate) => candidate.name === name);
  if (command === undefined) {
    io.err(`cvm-cpu: ${name === undefined ? "no command given" : `no command "${name}"`}\n${help(commands)}`);
    return 2;
  }
  try {
    const { values, positionals } = parseArgs({
      args: rest,
      options: { ...command.options, ...HELP },
      allowPositionals: true,
      strict: true,
    });
    if (values["help"] === true) {
      io.out(`Usage: ${usageOf(command)}\n${command.summary}\n`);
      return 0;
    }
    return await command.run({ values, files: positionals }, io);
  } catch (error) {
    io.err(`cvm-cpu ${command.name}: ${(error as Error).message}\n`);
    if (!isUsage(error)) return 1;
    io.err(`Usage: ${usageOf(command)}\n`);
    return 2;
  }
}
