/** Whether the engine multiplies and adds in one rounding. */
import { Code } from "./code.ts";
import { engine } from "./engine.ts";
import { ModuleBuilder } from "./module.ts";

function probe(): boolean {
  const builder = new ModuleBuilder();
  const code = new Code(["f64", "f64", "f64"]);
  for (const operand of [0, 1, 2]) code.get(operand);
  code.fma();
  const index = builder.declare({ params: ["f64", "f64", "f64"], result: "f64" });
  builder.define(index, code);
  builder.export("fma", index);
  try {
    const module = new engine.Module(builder.finish(0));
    const memory = new engine.Memory({ initial: 0, maximum: 0 });
    const { fma } = new engine.Instance(module, { env: { memory } }).exports as { fma: (a: number, b: number, c: number) => number };
    // The rounded product of the first is 1 + 2^-26; that of the second overflows.
    return (
      fma(1 + 2 ** -27, 1 + 2 ** -27, -(1 + 2 ** -26)) === 2 ** -54 &&
      fma(2 ** 600, 2 ** 600, -Infinity) === -Infinity &&
      fma(2 ** 1000, 4, -(2 ** 1001)) === 2 ** 1001
    );
  } catch {
    return false;
  }
}

/** f64x2.relaxed_madd is fused here: the specification leaves it open, the processor decides it once and for all. */
export const fusesMultiplyAdd: boolean = probe();
