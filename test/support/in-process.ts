/** A host in this process: several cVMs whose objects the test declares. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMachine } from "@cvm/cpu";
import { createLibraryOs } from "@cvm/libos";
import { connectLibraryOs, createMonitor, type Cvm, type Monitor, overMessagePort, serveLibraryOs } from "@cvm/monitor";
import type { LibosOptions } from "@cvm/monitor/abi";

const MIB = 1 << 20;

export interface Ended {
  readonly code: number;
  readonly signal: number;
  readonly output: string;
}
export interface Program {
  readonly name: string;
  readonly layers: readonly string[];
  readonly argv: readonly string[];
  /** Folders of this machine by their place in the cVM. */
  readonly volumes?: Readonly<Record<string, string>>;
  /** The library OS is behind a serialising port. */
  readonly ported?: boolean;
}
export interface Running {
  readonly cvm: Cvm;
  readonly ended: Promise<Ended>;
  /** What it wrote so far. */
  readonly output: () => string;
}

export class InProcessHost {
  readonly monitor: Monitor;
  readonly #folder: string = mkdtempSync(join(tmpdir(), "cvm-test-"));
  #count = 0;

  constructor() {
    this.monitor = createMonitor(createMachine({ memoryBytes: 1024 * MIB, engine: "translator" }));
  }
  async start({ name, layers, argv, volumes = {}, ported = false }: Program): Promise<Running> {
    let output = "";
    const { promise, resolve } = Promise.withResolvers<Ended>();
    const memoryBytes = 256 * MIB;
    const cvm = this.monitor.createCvm({
      name,
      memoryBytes,
      libraryOs: (host, address) => {
        const options: LibosOptions = {
          hostname: name,
          address,
          layers,
          writable: join(this.#folder, String(this.#count++)),
          volumes: Object.entries(volumes).map(([target, source]) => ({ source, target, readOnly: true })),
          memoryBytes,
          program: { argv, env: ["PATH=/usr/bin:/bin"], cwd: "/", user: { uid: 0, gid: 0 }, tty: false, stdin: false },
          strace: false,
        };
        if (!ported) return createLibraryOs(options, host);
        const { port1, port2 } = new MessageChannel();
        serveLibraryOs(overMessagePort(port2), { create: (calls, sent) => createLibraryOs(sent as LibosOptions, calls) });
        return connectLibraryOs(overMessagePort(port1), host, { options });
      },
      events: {
        output: (_console, _fd, bytes) => (output += Buffer.from(bytes).toString()),
        fault: ({ text }) => (output += text),
        problem: (text) => (output += text),
        exited: (console, code, signal) => {
          if (console === 0) resolve({ code, signal, output });
        },
      },
    });
    await cvm.start();
    return { cvm, ended: promise, output: () => output };
  }
  /** Runs a program to its end. */
  async run(program: Program): Promise<Ended> {
    return (await this.start(program)).ended;
  }
  stop(): void {
    for (const cvm of this.monitor.cvms) this.monitor.destroyCvm(cvm);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
