/** A decoder that can be told that the floating-point unit is off. */
import type { Decoder } from "../isa/decode.ts";

/** As another decoder, but while {@link off} is set, instructions of the floating-point unit are illegal. What was decoded before does not change. */
export class FloatSwitch implements Decoder {
  off = false;
  readonly clauses: Decoder["clauses"];
  readonly #decoder: Decoder;
  /** By index of the clause. */
  readonly #float: readonly boolean[];

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
    this.clauses = decoder.clauses;
    this.#float = decoder.clauses.map(({ extension, name }) => extension === "F" || extension === "D" || name === "fpclear");
  }
  decode: Decoder["decode"] = (word, mode, out) => {
    const clause = this.#decoder.decode(word, mode, out);
    return clause >= 0 && this.off && this.#float[clause]! ? -1 : clause;
  };
  written: Decoder["written"] = (word, mode) => this.#decoder.written(word, mode);
}
