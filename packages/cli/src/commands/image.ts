import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { CliError, messageOf } from "../errors.ts";
import { loadStates } from "../host/records.ts";
import { makeDebianImage } from "../images/debian.ts";
import { parseReference } from "../images/reference.ts";
import { imageIdOf, listImages, removeImage } from "../images/store.ts";
import type { Image } from "../images/store.ts";
import { parseEnv } from "./parse.ts";
import { humanAge, humanBytes, ProgressLine, table } from "../output.ts";

function words(text: string): string[] {
  return text.split(" ").filter((word) => word !== "");
}

/** Name and tag of an image that has them. */
function nameOf(image: Image): ReturnType<typeof parseReference> | undefined {
  return image.reference === image.id ? undefined : parseReference(image.reference);
}

export function addImage(program: Command): void {
  const image = program.command("image").description("make images");
  image
    .command("debian")
    .description("make an image from Debian packages (trixie, riscv64) and what they depend on")
    .argument("<PACKAGE...>", "Debian packages")
    .requiredOption("-t, --tag <name[:tag]>", "name of the image")
    .option("--entrypoint <command>", "entry point, words separated by spaces", words)
    .option("--cmd <command>", "command to run unless another is given, words separated by spaces", words)
    .option("-e, --env <NAME=value>", "set an environment variable", parseEnv, [])
    .option("--workdir <folder>", "working directory")
    .option("--user <user>", "user to run as")
    .action(
      async (
        packages: string[],
        options: { tag: string; entrypoint?: string[]; cmd?: string[]; env: string[]; workdir?: string; user?: string },
      ) => {
        parseReference(options.tag);
        const progress = new ProgressLine();
        try {
          const made = await makeDebianImage(
            options.tag,
            packages,
            {
              ...(options.entrypoint === undefined ? {} : { entrypoint: options.entrypoint }),
              ...(options.cmd === undefined ? {} : { command: options.cmd }),
              env: options.env,
              ...(options.workdir === undefined ? {} : { workdir: options.workdir }),
              ...(options.user === undefined ? {} : { user: options.user }),
            },
            progress.show,
          );
          progress.done();
          process.stdout.write(`${made.reference} ${made.id} ${humanBytes(made.size)}\n`);
        } finally {
          progress.done();
        }
      },
    );

  program
    .command("images")
    .description("list images")
    .option("-q, --quiet", "ids only")
    .option(
      "--format <format>",
      "table or json",
      (text: string) => {
        if (text !== "json" && text !== "table") throw new InvalidArgumentError("choose table or json.");
        return text;
      },
      "table",
    )
    .action((options: { quiet?: boolean; format: string }) => {
      const images = listImages().toReversed();
      const short = (id: string): string => id.replace("sha256:", "").slice(0, 12);
      if (options.format === "json") {
        process.stdout.write(
          `${JSON.stringify(
            images.map((one) => ({
              reference: one.reference,
              id: one.id,
              created: one.config.created,
              size: one.size,
              config: one.config.config,
            })),
            null,
            2,
          )}\n`,
        );
      } else if (options.quiet === true) process.stdout.write(images.map((one) => `${short(one.id)}\n`).join(""));
      else {
        process.stdout.write(
          `${table(images, [
            { title: "REPOSITORY", cell: (one) => nameOf(one)?.name ?? "<none>" },
            { title: "TAG", cell: (one) => nameOf(one)?.tag ?? "<none>" },
            { title: "IMAGE ID", cell: (one) => short(one.id) },
            { title: "CREATED", cell: (one) => (one.config.created === undefined ? "" : `${humanAge(one.config.created)} ago`) },
            { title: "SIZE", cell: (one) => humanBytes(one.size) },
          ])}\n`,
        );
      }
    });

  program
    .command("rmi")
    .description("remove images")
    .argument("<IMAGE...>", "names or ids")
    .option("-f, --force", "also when a cVM uses it")
    .action((references: string[], options: { force?: boolean }) => {
      for (const reference of references) {
        try {
          const id = imageIdOf(reference);
          const states = loadStates(true);
          const user = states.find((state) => state.config.imageId === id);
          if (user !== undefined && (options.force !== true || user.status === "running"))
            throw new CliError("conflict", `image "${reference}" is used by cVM "${user.config.name}": remove that first`);
          removeImage(reference, new Set(states.map((state) => state.config.imageId)));
          process.stdout.write(`Untagged: ${reference}\n`);
        } catch (error) {
          process.stderr.write(`cvm: ${messageOf(error)}\n`);
          process.exitCode = 1;
        }
      }
    });
}
