/** Assembles the vDSO's code: `node --conditions=source scripts/vdso.ts` writes packages/libos/src/elf/vdso-code.ts anew. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Assembler, assembleInto } from "@cvm/cpu";

const root = join(import.meta.dirname, "..");
const folder = join(root, "packages", "libos", "src", "elf");
/** Where the code stands in the object. */
export const TEXT_OFFSET = 0x800;

export interface VdsoCode {
  readonly words: readonly number[];
  /** Functions that programs look up, in the order of their places. */
  readonly symbols: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[];
}

/** What the source says now. */
export function assembleVdso(): VdsoCode {
  const source = readFileSync(join(folder, "vdso.s"), "utf8");
  const assembler = new Assembler({ origin: TEXT_OFFSET });
  assembleInto(assembler, source);
  const code = assembler.assemble();
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const words = Array.from({ length: code.length / 4 }, (_, at) => view.getUint32(4 * at, true));
  const places = [...source.matchAll(/^(__vdso_\w+):/gmu)].map(([, name]) => ({ name: name!, offset: assembler.addressOf(name!) }));
  const symbols = places.map((place, at) => ({
    ...place,
    bytes: (places[at + 1]?.offset ?? TEXT_OFFSET + code.length) - place.offset,
  }));
  return { words, symbols };
}

if (process.argv[1] === import.meta.filename) {
  const { words, symbols } = assembleVdso();
  const file = join(folder, "vdso-code.ts");
  writeFileSync(
    file,
    `/** Generated from vdso.s by scripts/vdso.ts. */

/** Where the code stands in the object. */
export const TEXT_OFFSET = ${TEXT_OFFSET};
/** Instructions. */
export const CODE: readonly number[] = [${words.map((word) => `0x${word.toString(16).padStart(8, "0")}`).join(", ")}];
/** Offsets in the object, and lengths in bytes. */
export const SYMBOLS: readonly { readonly name: string; readonly offset: number; readonly bytes: number }[] = ${JSON.stringify(symbols)};
`,
  );
  spawnSync(join(root, "node_modules", ".bin", "oxfmt"), [file], { stdio: "inherit" });
}
