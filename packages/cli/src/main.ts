import { Command, CommanderError } from "commander";
import { addHost } from "./commands/host.ts";
import { addImage } from "./commands/image.ts";
import { addCapabilities } from "./commands/capabilities.ts";
import { addManage } from "./commands/manage.ts";
import { addRun } from "./commands/run.ts";
import { addProject } from "./deploy/commands.ts";
import { DeploymentError, NoFileError } from "./deploy/problems.ts";
import { exitCodeOf, messageOf } from "./errors.ts";
import { version } from "./version.ts";

/** Exit code for errors of the command itself, as docker has it. */
const EXIT_COMMAND_ERROR = 125;

/** The whole `cvm` command; sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("cvm")
    .description("Run unmodified Linux riscv64 programs in capability compartments")
    .version(version, "--version", "print the version")
    .enablePositionalOptions()
    .showHelpAfterError("(see cvm --help)")
    .showSuggestionAfterError()
    .exitOverride();
  addRun(program);
  addManage(program);
  addProject(program);
  addCapabilities(program);
  addImage(program);
  addHost(program);
  for (const command of allCommands(program)) command.exitOverride().showHelpAfterError(`(see cvm ${command.name()} --help)`);
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    process.exitCode = report(error, argv[0] === "run" || argv[0] === "exec");
  }
}

function allCommands(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...allCommands(child)]);
}

function report(error: unknown, runs: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_COMMAND_ERROR;
  process.stderr.write(`cvm: ${messageOf(error)}\n`);
  if (process.env["CVM_DEBUG"] !== undefined && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  if (error instanceof DeploymentError || error instanceof NoFileError) return error.exitCode;
  return runs ? exitCodeOf(error) : 1;
}
