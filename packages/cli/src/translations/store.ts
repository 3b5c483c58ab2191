/** Translations that outlive their host, in CVM_HOME/translations: a later start of the same programs is warm. */
import type { Units, UnitStore } from "@cvm/cpu";
import { CliError } from "../errors.ts";
import { translationsFolder } from "../home.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { PackedUnits } from "./units.ts";

const MIB = 1 << 20;

export interface TranslationsOptions {
  readonly root: string;
  /** Bytes of all files; 256 MiB unless given. */
  readonly limit?: number;
  /** Bytes that may be stored at once, and in each hour after; 64 MiB unless given. */
  readonly perHour?: number;
  readonly warn: (text: string) => void;
}

export class Translations implements UnitStore {
  readonly #options: TranslationsOptions;
  readonly #open: PackedUnits[] = [];

  constructor(options: TranslationsOptions) {
    this.#options = options;
  }
  open(variant: string, known: (intrinsic: string) => boolean): Units {
    const { root, warn, limit = 256 * MIB, perHour = 64 * MIB } = this.#options;
    const units = new PackedUnits({ root, limit, perHour, known, warn, fingerprint: fingerprintOf(variant) });
    this.#open.push(units);
    return units;
  }
  /** Resolves when all that was added is written. */
  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((units) => units.close()));
  }
}

/**
 * The translations of this home; undefined when they are off.
 * @param setting the environment's CVM_TRANSLATIONS: `on` unless given, or `off`
 * @throws CliError `usage`
 */
export function openTranslations(
  warn: (text: string) => void,
  setting: string = process.env["CVM_TRANSLATIONS"] ?? "on",
): Translations | undefined {
  if (setting === "off") return undefined;
  if (setting !== "on" && setting !== "") throw new CliError("usage", `CVM_TRANSLATIONS is "${setting}": choose on or off`);
  return new Translations({ root: translationsFolder(), warn });
}
