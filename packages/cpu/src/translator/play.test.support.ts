/** Runs random programs on both engines. */
import { expect } from "vitest";
import { Exit, Prot, type MachineOptions } from "../abi.ts";
import { forAll } from "../verify/check.test.support.ts";
import { describeFlow, type arbFlow, type Flow } from "./flow.test.support.ts";
import { assemble, BASE, CODE, DATA, DATA_BYTES, PAGE, region, Twins, type Way } from "./twins.test.support.ts";

/** Where programs' code may be. */
const CODE_BYTES = 3 * PAGE;
const TAGGED = region();
const PATTERN = Uint8Array.from({ length: DATA_BYTES }, (_, at) => (at * 37) ^ (at >>> 3));

/** Runs a program on both for some time, going on after exceptions. Returns how many instructions it did. */
function play(twins: Twins, flow: Flow): number {
  const { bytes, label } = assemble(flow.lines.join("\n"), flow.at);
  const code = new Uint8Array(CODE_BYTES);
  code.set(bytes, flow.at - CODE);
  twins.each(({ machine, hart }) => {
    machine.storeRange(BASE + CODE, code);
    machine.storeRange(BASE + DATA, PATTERN);
    machine.protect(BASE + CODE, CODE_BYTES, Prot.Read | Prot.Write | Prot.Execute);
    machine.protect(BASE + DATA, DATA_BYTES, Prot.Read | Prot.Write);
    for (const page of flow.tagged) for (let at = page; at < page + PAGE; at += 64) machine.storeCapability(BASE + at, TAGGED);
    for (const page of flow.readOnly) machine.protect(BASE + page, PAGE, Prot.Read);
    for (const page of flow.unmapped) machine.protect(BASE + page, PAGE, 0);
    hart.ddc = region(BASE, flow.ddcBytes);
    for (let register = 1; register < 32; register++) hart.setX(register, flow.values[register % 8]!);
    for (let register = 0; register < 32; register++) hart.setF(register, flow.values[(register * 3) % 8]!);
    hart.fcsr = flow.fcsr;
  });
  const labels = ["b0", "f0"].filter((name) => flow.lines.some((line) => line.startsWith(`${name}:`)));
  const start = label(labels[0]!);
  const pointers = (): void => {
    const [a0, s0, s1, sp] = flow.pointers as [number, number, number, number];
    for (const [register, value] of [
      [10, a0],
      [8, s0],
      [9, s1],
      [2, sp],
      [3, label("table")],
      [4, flow.at],
      [1, start],
      [5, start],
    ] as const) {
      twins.setX(register, value);
    }
  };
  pointers();
  twins.start(start);
  const before = twins.interpreted.hart.instructions;
  let events = 0;
  let fuel = 1500;
  for (let turn = 0; fuel > 0 && events < 12; turn++) {
    const slice = Math.min(fuel, flow.fuels[turn % flow.fuels.length]!);
    const exit = twins.run(slice);
    const { hart } = twins.interpreted;
    fuel -= slice - hart.fuelLeft;
    if (exit === Exit.Fuel) continue;
    events++;
    // Past the instruction that raised it, or back to the start with good pointers.
    const next = hart.pc + 4;
    if (exit === Exit.Ecall || (events % 3 !== 0 && next > flow.at && next < flow.at + bytes.length)) twins.start(next);
    else {
      pointers();
      twins.start(start);
    }
  }
  return twins.interpreted.hart.instructions - before;
}

/** Each counterexample is run again on new machines, so that its report does not depend on what ran before. */
export function check(way: Way, arbitrary: ReturnType<typeof arbFlow>, runs: number, options: MachineOptions = {}): number {
  let twins = new Twins(way, options);
  let instructions = 0;
  forAll(
    arbitrary,
    runs,
    (flow) => {
      try {
        instructions += play(twins, flow);
      } catch (error) {
        twins = new Twins(way, options);
        throw error;
      }
    },
    (flow) => {
      try {
        play(new Twins(way, options), flow);
      } catch (error) {
        return `${(error as Error).message}\n${describeFlow(flow)}`;
      }
      return `only after others ran\n${describeFlow(flow)}`;
    },
  );
  expect(twins.translator.stats.units).toBeGreaterThan(runs / 4);
  return instructions;
}
