/** Objects of the monitor as the host's protocol names them. */
import { capability } from "@cvm/cpu";
import type { CpConfig, CpObject, CpObjects, HeldCapability, Monitor } from "@cvm/monitor";
import { CpRight, type CpKind } from "@cvm/monitor/abi";
import { CliError } from "../errors.ts";
import type { CapabilityLine, ObjectLine, SharedDefinition } from "./protocol.ts";
import { OBJECT_RIGHTS } from "./protocol.ts";
import type { RuntimeObjects } from "./runtime.ts";

const BITS: Readonly<Record<string, number>> = {
  read: CpRight.Read,
  write: CpRight.Write,
  connect: CpRight.Connect,
  listen: CpRight.Listen,
  call: CpRight.Call,
  publish: CpRight.Publish,
};
const namesOf = (kind: CpKind, rights: number): string[] => OBJECT_RIGHTS[kind].filter((name) => (rights & BITS[name]!) !== 0);

/** @throws CliError `invalid` for a right that the kind does not have */
function bitsOf({ kind, name }: SharedDefinition, rights: readonly string[]): number {
  let bits = 0;
  for (const right of rights) {
    if (!(OBJECT_RIGHTS[kind] as readonly string[]).includes(right))
      throw new CliError("invalid", `the ${kind} "${name}" has no right "${right}"`);
    bits |= BITS[right]!;
  }
  return bits;
}

export function runtimeObjects(monitor: Monitor): RuntimeObjects {
  const { objects } = monitor;
  const grantsOf = (definition: SharedDefinition): CpConfig["grants"] =>
    definition.grants.map(({ cvm, rights }) => ({ cvm, rights: bitsOf(definition, rights) }));
  const find = (of: CpObjects, project: string, { kind, name }: SharedDefinition): CpObject | undefined => of.get(kind, name, project);
  return {
    declare(project, definition) {
      const { kind, name, size, content } = definition;
      objects.declare({
        kind,
        name,
        scope: project,
        grants: grantsOf(definition),
        ...(size === undefined ? {} : { size }),
        ...(content === undefined ? {} : { content }),
      });
    },
    grant(project, definition) {
      const object = find(objects, project, definition);
      if (object === undefined) return;
      const wanted = new Map(grantsOf(definition).map(({ cvm, rights }) => [cvm, rights]));
      for (const [cvm, rights] of object.grants) if ((rights & ~(wanted.get(cvm) ?? 0)) !== 0) objects.revokeFrom(object, cvm);
      object.grants.clear();
      for (const [cvm, rights] of wanted) object.grants.set(cvm, rights);
    },
    revoke(project, definition) {
      const object = find(objects, project, definition);
      if (object !== undefined) objects.revoke(object);
    },
    list: () =>
      Array.from(objects.all(), ({ kind, name, scope, size, grants, holders }): ObjectLine => ({
        project: scope,
        kind,
        name,
        size,
        grants: Array.from(grants, ([cvm, rights]) => ({ cvm, rights: namesOf(kind, rights) })),
        holders: Array.from(holders, ([{ name: cvm }, handles]) => ({ cvm, opened: handles.size })).filter(({ opened }) => opened > 0),
      })),
  };
}

export function capabilityLines(held: readonly HeldCapability[]): CapabilityLine[] {
  return held.map(({ where, capability: one, object, rights }) => ({
    where,
    capability: one === null ? "" : capability.format(one),
    object: object === null ? undefined : `${object.kind} ${object.name}`,
    rights: object === null ? [] : namesOf(object.kind, rights),
  }));
}
