/** Two or more toy cVMs that call each other: assembly of callers and callees, and what they tell the test. */
import { createMachine, Interpreter, allClauses, standardInterpreter } from "@cvm/cpu";
import type { EngineName } from "@cvm/cpu/abi";
import { Prot } from "@cvm/cpu/abi";
import type { SyscallCall } from "../abi.ts";
import { CpRight, PENDING } from "../abi.ts";
import type { Cvm } from "../cvm.ts";
import { CALL_CAPABILITY, CALL_GATES, CALL_SERVE } from "../gate.ts";
import type { Monitor } from "../monitor.ts";
import { createMonitor } from "../monitor.ts";
import type { Heard, Toy, ToyCall, ToyConfig } from "./toy.ts";
import { DATA, registers as registerFile, STACK, toyCvm } from "./toy.ts";

/** Where programs map the page that shows the table of capabilities. */
export const TABLE = 0x60000;
/** A page that is mapped and was never stored to. */
export const FRESH = 0x50000;
export const Call: number = CpRight.Call;
export const Publish: number = CpRight.Publish;
const NAMES = ["one", "two", "three"];

/** What a cVM told, in order. */
export interface Told {
  readonly who: string;
  readonly value: number;
}

const text = (lines: string): string => lines.replaceAll(/^ +/gmu, "");
const ecall = (number: number, a0?: number): string => `${a0 === undefined ? "" : `li a0, ${a0}\n`}li a7, ${number}\necall\n`;
export const exit = (code?: number): string => ecall(93, code);
/** Tells the test what is in a0. */
export const tell = (value?: number): string => ecall(501, value);
/** Waits until the test answers. */
export const wait: string = ecall(503);
/** Waits for a turn of the event loop. */
export const pause: string = ecall(506);
/** Shows the test the registers. */
export const registers: string = ecall(504);
/** Starts another thread at a label. */
export const spawn = (label: string): string => `la a0, ${label}\n${ecall(505)}`;
let labels = 0;

/** Puts the stack in order: 0(sp) … 24(sp) are addresses in the table: of the pair, of the gates. */
export function open(name: number, rights: number): string {
  return text(`
    addi sp, sp, -64
    ${ecall(502)}
    li a1, ${name}
    ${ecall(500, rights)}
    mv s11, a0
    ${(rights & Call) === 0 ? "" : `${ecall(CALL_CAPABILITY)}${inTable("a2", 0)}${inTable("a3", 8)}`}
    ${ecall(CALL_CAPABILITY, CALL_GATES)}${inTable("a2", 16)}${inTable("a3", 24)}
    mv a0, s11
  `);
}
const inTable = (register: string, at: number): string =>
  `slli ${register}, ${register}, 4\nli t0, ${TABLE}\nadd t0, t0, ${register}\nsd t0, ${at}(sp)\n`;

/** Calls, with the pair at an offset from sp; arguments are in registers. */
export function call(at = 0): string {
  const back = `back${labels++}`;
  return text(`
    ld t0, ${at}(sp)
    lc c6, 0(t0)
    ld t0, ${at + 8}(sp)
    lc c7, 0(t0)
    cspecialrw c1, pcc, c0
    la t0, ${back}
    csetoffset c1, c1, t0
    cinvoke c6, c7
    ${back}: mv ra, zero
  `);
}
/** Serves with the entry at a label: comes back with an error only. The handle is in a0. */
export const serve = (entry: string): string => `la a1, ${entry}\n${ecall(CALL_SERVE)}`;
/** Returns from a call. In callees sp is as it was at `serve`. */
export const giveBack = "ld t0, 16(sp)\nlc c1, 0(t0)\njalr.cap c0, c1\n";
/** ca4 and ca5 again. */
export const getBuffers: string = "ld t0, 24(sp)\nlc c5, 0(t0)\njalr.cap c1, c5\n";
/** ca4 or ca5: `length` bytes at an offset. */
export const buffer = (register: "c14" | "c15", at: number, length: number): string =>
  `cspecialrw ${register}, ddc, c0\nli t0, ${at}\ncincoffset ${register}, ${register}, t0\nli t0, ${length}\ncsetbounds ${register}, ${register}, t0\n`;

export interface Started {
  readonly cvm: Cvm;
  readonly heard: Heard;
  readonly toy: () => Toy;
}
export type End = readonly [console: number, code: number, signal: number];

let slow = 0;
/** The interpreter, with functions in TypeScript that count how often generated code calls one. */
const counting = new Interpreter(
  allClauses,
  Object.fromEntries(
    Object.entries(standardInterpreter().intrinsics).map(([name, intrinsic]) => [
      name,
      {
        ...intrinsic,
        make: (context: Parameters<typeof intrinsic.make>[0]) => {
          const form = intrinsic.make(context);
          return (hart: number, ...args: never[]) => {
            slow++;
            return form(hart, ...args);
          };
        },
      },
    ]),
  ),
);

/** A host on which cVMs call each other. Objects "one", "two" and "three" may be opened with any right. */
export class CallHost {
  readonly monitor: Monitor;
  readonly told: Told[] = [];
  /** System calls 504: registers as they are. */
  readonly registers: { readonly who: string; readonly thread: number; readonly bytes: Uint8Array }[] = [];
  readonly #waiting: ((who: string) => void)[] = [];

  constructor(engine: EngineName = "interpreter") {
    this.monitor = createMonitor(createMachine({ memoryBytes: 16 << 20, engine }, counting));
    for (const name of NAMES) this.declare(name);
  }
  /** How often generated code called a function in TypeScript, on any host. */
  slow(): number {
    return slow;
  }
  declare(name: string, ...grants: { cvm: string; rights: number }[]): void {
    this.monitor.objects.declare({ kind: "call", name, grants: grants.length > 0 ? grants : [{ cvm: "*", rights: Call | Publish }] });
  }
  get(name: string): NonNullable<ReturnType<Monitor["objects"]["get"]>> {
    return this.monitor.objects.get("call", name)!;
  }

  async start(name: string, program: string, config: Partial<ToyConfig> = {}): Promise<Started> {
    let spawned = 1;
    const told = (toy: Toy, call: SyscallCall, value: number): void => {
      this.told.push({ who: toy.process === call.process ? name : `${name}, process ${call.process}`, value });
    };
    const calls: ToyCall[] = [
      {
        name: "open",
        number: 500,
        args: [
          { name: "rights", kind: "int" },
          { name: "name", kind: "int" },
        ],
        handler: ({ args }, toy) =>
          toy.host.cp({ cp: "open", kind: "call", name: NAMES[args[1] as number]!, rights: args[0] as number }) as number,
      },
      {
        name: "tell",
        number: 501,
        args: [{ name: "value", kind: "long" }],
        handler: (call, toy) => {
          told(toy, call, call.args[0] as number);
          return 0;
        },
      },
      {
        name: "table",
        number: 502,
        handler: ({ process }) => ({
          result: 0,
          ops: [
            { op: "map", process, address: TABLE, length: 4096, prot: Prot.Read | Prot.Write },
            { op: "map", process, address: FRESH, length: 4096, prot: Prot.Read | Prot.Write },
            { op: "capabilities", process, address: TABLE },
          ],
        }),
      },
      {
        name: "wait",
        number: 503,
        handler: ({ thread }, toy) => {
          this.#waiting.push(() => toy.host.complete(thread, 0));
          return PENDING;
        },
      },
      {
        name: "registers",
        number: 504,
        registers: true,
        handler: ({ registers: bytes, thread }) => {
          this.registers.push({ who: name, thread, bytes: bytes!.slice() });
          return 0;
        },
      },
      {
        name: "spawn",
        number: 505,
        args: [{ name: "pc", kind: "ulong" }],
        handler: ({ process, args: [pc] }) => ({
          result: 0,
          ops: [{ op: "thread", process, thread: ++spawned, registers: registerFile(pc as number, { 2: STACK - 0x400 * (spawned % 12) }) }],
        }),
      },
      {
        name: "pause",
        number: 506,
        handler: ({ thread }, toy) => {
          setImmediate(() => toy.host.complete(thread, 0));
          return PENDING;
        },
      },
      ...(config.calls ?? []),
    ];
    const made = toyCvm({ name, program, ...config, calls });
    const cvm = this.monitor.createCvm(made.config);
    await cvm.start();
    return { ...made, cvm };
  }
  /** The same, when its first thread waits for calls. */
  async startServer(name: string, program: string, config: Partial<ToyConfig> = {}): Promise<Started> {
    const started = await this.start(name, program, config);
    await this.until(() => started.cvm.inspect().syscalls === 4);
    return started;
  }
  /** Until something holds: the event loop turns in between. */
  async until(what: () => boolean): Promise<void> {
    for (let turns = 0; !what(); turns++) {
      if (turns > 20_000) throw new Error(`it does not come to that: ${what.toString()}; told: ${JSON.stringify(this.told)}`);
      await new Promise((resolve) => void setImmediate(resolve));
    }
  }
  /** Lets guests run for a while. */
  async turns(count = 50): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => void setImmediate(resolve));
  }
  get waiting(): number {
    return this.#waiting.length;
  }
  /** Answers the system calls that wait. */
  answer(): void {
    for (const complete of this.#waiting.splice(0)) complete("");
  }
  values(who: string): number[] {
    return this.told.filter((each) => each.who === who).map(({ value }) => value);
  }
  close(): void {
    for (const cvm of this.monitor.cvms) this.monitor.destroyCvm(cvm);
  }
}
export { DATA };
