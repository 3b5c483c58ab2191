import type { ProgramOptions } from "@cvm/monitor/abi";
import type { CvmConfig, CvmState } from "../host/protocol.ts";
import type { Runtime, RuntimeEvents } from "../host/runtime.ts";

/** One cVM of a {@link FakeRuntime}: what was done to it, and its events to fire. */
export interface FakeCvm {
  readonly name: string;
  readonly writable: string;
  readonly layers: readonly string[];
  readonly program: ProgramOptions;
  readonly events: RuntimeEvents;
  readonly input: string[];
  readonly signals: (readonly [console: number, signal: number])[];
  readonly execs: (readonly [console: number, program: ProgramOptions])[];
  destroyed: number;
}

/** A runtime for tests: nothing runs, everything is recorded. */
export class FakeRuntime implements Runtime {
  readonly cvms: FakeCvm[] = [];
  /** Called while a cVM starts; a rejection is a failed start. */
  onStart: (cvm: FakeCvm) => unknown = () => undefined;
  onExec: (cvm: FakeCvm, console: number) => unknown = () => undefined;
  onSignal: (cvm: FakeCvm, signal: number) => void = () => {};

  get last(): FakeCvm {
    return this.cvms.at(-1)!;
  }

  async start(
    state: CvmState,
    layers: readonly string[],
    writable: string,
    program: ProgramOptions,
    events: RuntimeEvents,
  ): ReturnType<Runtime["start"]> {
    const cvm: FakeCvm = { name: state.config.name, writable, layers, program, events, input: [], signals: [], execs: [], destroyed: 0 };
    this.cvms.push(cvm);
    await this.onStart(cvm);
    return {
      address: `10.0.0.${this.cvms.length}`,
      exec: async (console, other) => {
        cvm.execs.push([console, other]);
        await this.onExec(cvm, console);
      },
      input: (_console, bytes) => void cvm.input.push(Buffer.from(bytes).toString()),
      resize: () => {},
      signal: (console, signal) => {
        cvm.signals.push([console, signal]);
        this.onSignal(cvm, signal);
      },
      destroy: () => {
        cvm.destroyed++;
        // As a real one may: the end is told again when it is taken down.
        events.exit(0, 0, 9);
        queueMicrotask(() => {
          events.output(0, 1, Buffer.from("late"));
          events.exit(0, 0, 9);
        });
      },
      statistics: async () => ({ calls: 5 }),
      capabilities: () => [],
    };
  }
}

/** What `cvm run` would send, with changes. */
export function configOf(imageId: string, changes: Partial<CvmConfig> = {}): CvmConfig {
  return {
    name: "one",
    image: "test:latest",
    imageId,
    argv: ["/bin/hello"],
    env: ["PATH=/bin"],
    cwd: "/",
    user: "",
    hostname: "one",
    tty: false,
    stdin: false,
    memoryBytes: 2 ** 26,
    cpus: 0,
    ports: [],
    volumes: [],
    remove: false,
    strace: false,
    ...changes,
  };
}
