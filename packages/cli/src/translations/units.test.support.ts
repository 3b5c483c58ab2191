/** Units of invented programs, and stores of a small size. */
import { randomBytes } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Candidate, StoredUnit } from "@cvm/cpu";
import { PackedUnits, type UnitsOptions } from "./units.ts";

export const FINGERPRINT: Buffer = Buffer.alloc(32, 7);
const WASM = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** A unit of `program` whose code begins at a pc. Its code is the program's, its module as large as is asked for. */
export function unitOf(program: number, pc = 0x1000, binaryBytes = 200): StoredUnit {
  const bytes = new Uint8Array(200);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.imul(program + 1, 2_654_435_761 + at) >>> 24;
  const binary = new Uint8Array(binaryBytes).fill(program & 255);
  binary.set(WASM);
  return {
    entries: [pc, pc + 80],
    ranges: [{ from: pc, to: pc + bytes.length }],
    bytes,
    binary,
    maxTarget: pc + 80,
    instructions: 60,
    intrinsics: ["one"],
  };
}
/** Memory of a process that has a unit's code at address 64, and the candidates that it finds there. */
export function candidates(units: PackedUnits, unit: StoredUnit, entry = 0): Candidate[] {
  const memory = new Uint8Array(400);
  memory.set(unit.bytes, 64);
  const pc = unit.entries[entry]!;
  return [...units.candidates(pc, memory, 64 + pc - unit.entries[0]!)];
}
/** What a translator would link at a unit's code: the first that is equal. */
export function find(units: PackedUnits, unit: StoredUnit, entry = 0): StoredUnit | undefined {
  return candidates(units, unit, entry)
    .find(({ bytes }) => Buffer.compare(bytes, unit.bytes) === 0)
    ?.load();
}

export interface Opened {
  readonly units: PackedUnits;
  readonly warnings: string[];
}
export function openUnits(root: string, changes: Partial<UnitsOptions> = {}): Opened {
  const warnings: string[] = [];
  const units = new PackedUnits({
    root,
    fingerprint: FINGERPRINT,
    limit: 64 << 20,
    perHour: 64 << 20,
    known: (name) => name === "one",
    warn: (text) => warnings.push(text),
    ...changes,
  });
  return { units, warnings };
}
/** Opens, adds, and closes. */
export async function keep(root: string, added: readonly StoredUnit[], changes: Partial<UnitsOptions> = {}): Promise<string[]> {
  const { units, warnings } = openUnits(root, changes);
  for (const unit of added) units.add(unit);
  await units.close();
  return warnings;
}

/** Paths of packs below a folder. */
export function packsIn(root: string): string[] {
  return filesIn(root).filter((path) => path.endsWith(".pack"));
}
export function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .map((name) => join(root, name))
    .filter((path) => statSync(path).isFile())
    .sort();
}
export function bytesIn(root: string): number {
  return filesIn(root).reduce((sum, path) => sum + statSync(path).size, 0);
}
/** A module that is different each time. */
export function noise(unit: StoredUnit): StoredUnit {
  const binary = new Uint8Array(randomBytes(unit.binary.length));
  binary.set(WASM);
  return { ...unit, binary };
}
