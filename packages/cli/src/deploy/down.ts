/** `cvm down`: ends and removes a project's cVMs, and its volumes if asked to. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cvmHome } from "../home.ts";
import { connectRunningHost } from "../host/client.ts";
import type { CvmState } from "../host/protocol.ts";
import { deleteRecord, loadStates } from "../host/records.ts";
import type { Deployment } from "./deployment.ts";
import { Label, labelOf, ofProject, stopOrder } from "./plan.ts";
import { removeCvm } from "./start.ts";

export interface DownOptions {
  readonly volumes: boolean;
  readonly removeOrphans: boolean;
  readonly seconds: number | undefined;
}

/** @param deployment undefined when only the project's name is known: then all of it goes */
export async function down(
  project: string,
  deployment: Deployment | undefined,
  options: DownOptions,
  say: (text: string) => void,
): Promise<void> {
  const host = await connectRunningHost();
  try {
    const all = host === undefined ? loadStates(false) : (await host.request("list", {})).cvms;
    const states = ofProject(all, project);
    const known = (state: CvmState): boolean => {
      const service = labelOf(state, Label.SERVICE) ?? "";
      return deployment === undefined || deployment.services.has(service) || deployment.inactive.has(service);
    };
    const orphans = states.filter((state) => !known(state));
    const doomed = options.removeOrphans ? states : states.filter(known);
    if (doomed.length === 0) say(`cvm: "${project}" has no cVMs`);
    if (orphans.length > 0 && !options.removeOrphans)
      say(
        `cvm: left: ${orphans.map((state) => state.config.name).join(", ")}, of services that the file has no more; --remove-orphans removes them`,
      );
    for (const group of stopOrder(doomed)) {
      await Promise.all(
        group.map(async (state) => {
          if (host !== undefined) return removeCvm(host, state, options.seconds, say);
          deleteRecord(state.id);
          return say(`${state.config.name}: removed`);
        }),
      );
    }
    // Services that are left keep what they share.
    if (host !== undefined && ofProject((await host.request("list", {})).cvms, project).length === 0)
      await host.request("share", { project, objects: [] });
    if (options.volumes) {
      const others = all.filter((state) => !doomed.includes(state));
      for (const name of volumesOf(project, deployment, doomed)) removeVolume(name, others, say);
    }
  } finally {
    host?.close();
  }
}

/** Names of the volumes that are the project's own. Without a file: those that its cVMs mounted and that bear its name. */
function volumesOf(project: string, deployment: Deployment | undefined, states: readonly CvmState[]): string[] {
  if (deployment !== undefined) return deployment.volumes.filter((volume) => !volume.external).map((volume) => volume.name);
  const folder = join(cvmHome(), "volumes", `${project}_`);
  const sources = states.flatMap((state) => state.config.volumes.map((volume) => volume.source));
  return [...new Set(sources.filter((source) => source.startsWith(folder)))].map((source) =>
    source.slice(folder.length - project.length - 1),
  );
}

function removeVolume(name: string, others: readonly CvmState[], say: (text: string) => void): void {
  const folder = join(cvmHome(), "volumes", name);
  const user = others.find((state) => state.config.volumes.some((volume) => volume.source === folder));
  if (user !== undefined) return say(`volume ${name}: left, "${user.config.name}" uses it`);
  if (!existsSync(folder)) return undefined;
  rmSync(folder, { recursive: true, force: true });
  return say(`volume ${name}: removed`);
}
