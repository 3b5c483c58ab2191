/** `cvm caps` and `cvm audit`: who holds which capabilities, and who may reach whom by what. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { projectOf, fileOf } from "../deploy/load.ts";
import { CliError } from "../errors.ts";
import { connectRunningHost } from "../host/client.ts";
import type { HostConnection } from "../host/connection.ts";
import type { ObjectLine } from "../host/protocol.ts";
import { table } from "../output.ts";

function parseFormat(text: string): string {
  if (text !== "table" && text !== "json") throw new InvalidArgumentError("choose table or json.");
  return text;
}

async function onHost<T>(ask: (host: HostConnection) => Promise<T>): Promise<T> {
  const host = await connectRunningHost();
  if (host === undefined)
    throw new CliError("unavailable", "no host is running, so that nothing holds a capability: cvm run or cvm up starts one");
  try {
    return await ask(host);
  } finally {
    host.close();
  }
}

/** One way from a cVM to another, or to an object. */
interface Reach {
  readonly project: string;
  readonly object: string;
  readonly cvm: string;
  readonly rights: string;
  /** Who is at the other end: those that write what is read, or read what is written; who accepts, and who connects. */
  readonly with: string;
  readonly open: number;
}

const OTHER_END: Readonly<Record<string, string>> = {
  read: "write",
  write: "read",
  connect: "listen",
  listen: "connect",
  call: "publish",
  publish: "call",
};

/** By cVM and object. */
export function reachOf(objects: readonly ObjectLine[]): Reach[] {
  return objects.flatMap(({ project, kind, name, grants, holders }) =>
    grants
      .filter(({ rights }) => rights.length > 0)
      .map(({ cvm, rights }): Reach => {
        const others = grants.filter((other) => other.cvm !== cvm && rights.some((right) => other.rights.includes(OTHER_END[right]!)));
        return {
          project,
          object: `${kind} ${name}`,
          cvm,
          rights: rights.join(", "),
          with: others.map((other) => other.cvm).join(", ") || "-",
          open: holders.find((holder) => holder.cvm === cvm)?.opened ?? 0,
        };
      }),
  );
}

export function addCapabilities(program: Command): void {
  program
    .command("caps")
    .description("capabilities that a running cVM has, and those that its code may fetch")
    .argument("<CVM>", "name or id")
    .option("--format <format>", "table or json", parseFormat, "table")
    .action(async (key: string, { format }: { format: string }) => {
      const { capabilities } = await onHost((host) => host.request("capabilities", { id: key }));
      const text = table(capabilities, [
        { title: "WHERE", cell: ({ where }) => where },
        { title: "CAPABILITY", cell: ({ capability }) => capability || "-" },
        { title: "OPENED AS", cell: ({ object }) => object ?? "-" },
        { title: "RIGHTS", cell: ({ rights }) => rights.join(", ") || "-" },
      ]);
      process.stdout.write(`${format === "json" ? JSON.stringify(capabilities, null, 2) : text}\n`);
    });

  program
    .command("audit")
    .description("who was granted what of the objects that cVMs share, and so can reach whom")
    .option(
      "-f, --file <file>",
      "of the project of this deployment file",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option("-p, --project-name <name>", "of this project")
    .option("-g, --global", "of all projects, also where there is a deployment file")
    .option("--format <format>", "table or json", parseFormat, "table")
    .action(async (flags: { file: string[]; projectName?: string; global?: boolean; format: string }) => {
      const { objects } = await onHost((host) => host.request("objects", {}));
      const named = flags.file.length > 0 || flags.projectName !== undefined;
      const project =
        flags.global !== true && (named || fileOf() !== undefined)
          ? projectOf({ files: flags.file, project: flags.projectName })
          : undefined;
      const shown = objects.filter((object) => project === undefined || object.project === project);
      const text = table(reachOf(shown), [
        { title: "PROJECT", cell: (reach) => reach.project },
        { title: "OBJECT", cell: (reach) => reach.object },
        { title: "CVM", cell: (reach) => reach.cvm },
        { title: "RIGHTS", cell: (reach) => reach.rights },
        { title: "REACHES", cell: (reach) => reach.with },
        { title: "OPEN", cell: (reach) => String(reach.open) },
      ]);
      process.stdout.write(`${flags.format === "json" ? JSON.stringify(shown, null, 2) : text}\n`);
    });
}
