/** The verbs of projects: up, down, config. */
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { stringify } from "yaml";
import { CliError } from "../errors.ts";
import { documentOf } from "./config.ts";
import { down } from "./down.ts";
import { fileOf, loadDeployment, projectOf } from "./load.ts";
import { jsonSchema } from "./schema.ts";
import { say, up } from "./up.ts";

/** Which project a command is about. */
export interface ProjectOptions {
  readonly file: readonly string[];
  readonly projectName?: string;
  readonly profile: readonly string[];
  readonly envFile?: string;
}

const collect = (text: string, before: readonly string[]): string[] => [...before, text];

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new InvalidArgumentError("give a number of seconds.");
  return value;
}

function parseScale(text: string, before: ReadonlyMap<string, number>): Map<string, number> {
  const match = /^([a-zA-Z0-9._-]+)=(\d{1,3})$/u.exec(text);
  if (match === null) throw new InvalidArgumentError("write SERVICE=NUMBER.");
  return new Map([...before, [match[1]!, Number(match[2])]]);
}

function projectOptions(command: Command): Command {
  return command
    .option("-f, --file <file>", "deployment file; several go over each other", collect, [])
    .option("-p, --project-name <name>", "name of the project")
    .option("--profile <name>", "services of this profile too; * for all", collect, [])
    .option("--env-file <file>", "file of variables instead of .env");
}

const loadOptions = (options: ProjectOptions, chosen: readonly string[] = []): Parameters<typeof loadDeployment>[0] => ({
  files: options.file,
  project: options.projectName,
  envFile: options.envFile,
  profiles: options.profile,
  chosen,
});

/** The project that ps and logs are about: one that is named, or that of the working folder; undefined when there is none. */
export function wantedProject(options: {
  readonly file?: readonly string[];
  readonly projectName?: string;
  readonly global?: boolean;
}): string | undefined {
  const { file = [], projectName, global = false } = options;
  if (global && (file.length > 0 || projectName !== undefined))
    throw new CliError("usage", "--global is for all cVMs: leave out the project");
  if (global || (file.length === 0 && projectName === undefined && fileOf() === undefined)) return undefined;
  return projectOf({ files: file, project: projectName });
}

interface UpFlags extends ProjectOptions {
  readonly detach?: boolean;
  readonly forceRecreate?: boolean;
  readonly recreate: boolean;
  readonly deps: boolean;
  readonly removeOrphans?: boolean;
  readonly scale: ReadonlyMap<string, number>;
  readonly timeout?: number;
  readonly wait?: boolean;
  readonly abortOnContainerExit?: boolean;
  readonly exitCodeFrom?: string;
  readonly color: boolean;
  readonly logPrefix: boolean;
}

export function addProject(program: Command): void {
  projectOptions(program.command("up").description("start the services of a deployment file"))
    .argument("[SERVICE...]", "only these, and what they depend on")
    .option("-d, --detach", "in the background")
    .option("--wait", "in the background, until all are running and healthy")
    .option("--force-recreate", "make all anew, changed or not")
    .option("--no-recreate", "keep what is there, changed or not")
    .option("--no-deps", "without what the services depend on")
    .option("--remove-orphans", "remove cVMs of services that the file has no more")
    .option("--scale <service=number>", "so many cVMs of a service", parseScale, new Map())
    .option("-t, --timeout <seconds>", "seconds before a cVM that is to stop is killed", seconds)
    .option("--abort-on-container-exit", "stop all when one ends, and exit as it does")
    .option("--exit-code-from <service>", "stop all when one ends, and exit as this service does")
    .option("--no-color", "without colours")
    .option("--no-log-prefix", "without names before the lines")
    .action(async (chosen: string[], flags: UpFlags) => {
      if (flags.forceRecreate === true && !flags.recreate)
        throw new CliError("usage", "--force-recreate and --no-recreate exclude each other");
      const detach = flags.detach === true || flags.wait === true;
      if (detach && (flags.abortOnContainerExit === true || flags.exitCodeFrom !== undefined))
        throw new CliError("usage", "in the background nobody waits for an end: leave out -d or --wait");
      process.exitCode = await up(loadDeployment(loadOptions(flags, chosen)), {
        chosen,
        alone: !flags.deps,
        recreate: flags.forceRecreate === true ? "all" : flags.recreate ? "changed" : "none",
        scale: flags.scale,
        detach,
        wait: flags.wait === true,
        removeOrphans: flags.removeOrphans === true,
        seconds: flags.timeout,
        colour: flags.color,
        prefix: flags.logPrefix,
        abortOnExit: flags.abortOnContainerExit === true,
        exitCodeFrom: flags.exitCodeFrom,
      });
    });

  projectOptions(program.command("down").description("end and remove the cVMs of a project"))
    .option("-v, --volumes", "its named volumes too")
    .option("--remove-orphans", "also cVMs of services that the file has no more")
    .option("-t, --timeout <seconds>", "seconds before a cVM is killed", seconds)
    .action(async (flags: ProjectOptions & { volumes?: boolean; removeOrphans?: boolean; timeout?: number }) => {
      // With a name alone no file is needed; all that is called so goes.
      const nameOnly = flags.projectName !== undefined && flags.file.length === 0 && fileOf() === undefined;
      const deployment = nameOnly ? undefined : loadDeployment(loadOptions(flags));
      await down(
        deployment?.name ?? flags.projectName!,
        deployment,
        {
          volumes: flags.volumes === true,
          removeOrphans: flags.removeOrphans === true,
          seconds: flags.timeout,
        },
        say,
      );
    });

  projectOptions(program.command("config").description("check a deployment file and print what it says"))
    .option("-q, --quiet", "check only")
    .option(
      "--format <format>",
      "yaml or json",
      (text: string) => {
        if (text !== "yaml" && text !== "json") throw new InvalidArgumentError("choose yaml or json.");
        return text;
      },
      "yaml",
    )
    .option("--services", "names of its services")
    .option("--volumes", "names of its volumes")
    .option("--images", "images of its services")
    .option("--schema", "the JSON Schema of deployment files, for editors")
    .option("-o, --output <file>", "write to a file")
    .action(
      (
        flags: ProjectOptions & {
          quiet?: boolean;
          format: string;
          services?: boolean;
          volumes?: boolean;
          images?: boolean;
          schema?: boolean;
          output?: string;
        },
      ) => {
        const lines = (all: Iterable<string>): string => [...all].map((one) => `${one}\n`).join("");
        let text: string;
        if (flags.schema === true) text = `${JSON.stringify(jsonSchema(), null, 2)}\n`;
        else {
          const deployment = loadDeployment(loadOptions(flags));
          for (const note of deployment.notes) say(`cvm: ${note}`);
          if (flags.quiet === true) return;
          if (flags.services === true) text = lines(deployment.services.keys());
          else if (flags.volumes === true) text = lines(deployment.volumes.map((volume) => volume.key));
          else if (flags.images === true) text = lines(new Set([...deployment.services.values()].map((service) => service.image)));
          else
            text =
              flags.format === "json"
                ? `${JSON.stringify(documentOf(deployment), null, 2)}\n`
                : stringify(documentOf(deployment), { lineWidth: 0 });
        }
        if (flags.output === undefined) process.stdout.write(text);
        else writeFileSync(flags.output, text);
      },
    );
}
