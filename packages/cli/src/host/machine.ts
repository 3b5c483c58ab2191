import { createDecoder, createMachine, disassemble, allClauses } from "@cvm/cpu";
import { ENGINE_NAMES } from "@cvm/cpu/abi";
import { createLibraryOs } from "@cvm/libos";
import { connectLibraryOs, createMonitor, HOST_ADDRESS, overMessagePort, serveLibraryOs } from "@cvm/monitor";
import type { HostCalls, LibosOptions, LibraryOs } from "@cvm/monitor/abi";
import { CliError } from "../errors.ts";
import { openTranslations } from "../translations/store.ts";
import { publishDatagrams } from "./network/publish-datagrams.ts";
import { HostNetwork } from "./network/uplink.ts";
import type { Publication } from "./publish.ts";
import { publish } from "./publish.ts";
import { capabilityLines, runtimeObjects } from "./objects.ts";
import type { CvmState } from "./protocol.ts";
import { DEFAULT_NETWORK } from "./protocol.ts";
import type { Runtime } from "./runtime.ts";

const MIB = 1024 * 1024;
/** The whole address space that a 4 GiB memory leaves to cVMs. It is reserved, not touched. */
const MEMORY_BYTES = 3584 * MIB;

/**
 * A library OS that the monitor reaches only through a port: every message between the two is serialised and asynchronous,
 * as if it lived in another process.
 */
function behindPort(options: LibosOptions, host: HostCalls, report: (text: string) => void): Promise<LibraryOs> {
  const { port1: near, port2: far } = new MessageChannel();
  serveLibraryOs(overMessagePort(far), {
    create: (calls, sent) => createLibraryOs(sent as LibosOptions, calls),
    violation: (what) => report(`library OS: the monitor broke the protocol: ${what}`),
  });
  return connectLibraryOs(overMessagePort(near), host, {
    options,
    violation: (what) => report(`the library OS broke the protocol: ${what}`),
  });
}

/**
 * One machine with its monitor in this process.
 * @param topology `direct`: library OSes are called; `port`: they are behind a serialising port (CVM_LIBRARY_OS=port)
 */
export function createRuntime(topology: string = process.env["CVM_LIBRARY_OS"] ?? "direct"): Runtime {
  if (topology !== "direct" && topology !== "port") throw new CliError("usage", `CVM_LIBRARY_OS is "${topology}": choose direct or port`);
  const ported = topology === "port";
  const name = process.env["CVM_ENGINE"] ?? "translator";
  const engine = ENGINE_NAMES.find((known) => known === name);
  if (engine === undefined) throw new CliError("usage", `CVM_ENGINE is "${name}": choose ${ENGINE_NAMES.join(", ")}`);
  const translations = engine === "translator" ? openTranslations((text) => process.stderr.write(`cvm: ${text}\n`)) : undefined;
  const machine = createMachine({ memoryBytes: MEMORY_BYTES, engine, translations });
  const decoder = createDecoder(allClauses);
  const network = new HostNetwork();
  const monitor = createMonitor(machine, { network, disassemble: (word, pc, mode) => disassemble(decoder, word, pc, mode) });

  return {
    objects: runtimeObjects(monitor),
    close: async () => translations?.close(),
    async start(state: CvmState, layers, writable, program, events) {
      const { config } = state;
      const { mode, hosts, dns, groups } = config.network ?? DEFAULT_NETWORK;
      const options = (address: string): LibosOptions => ({
        hostname: config.hostname,
        address,
        layers,
        writable,
        hosts: hosts.map(({ name: host, address: to }) => ({ name: host, address: to === "host-gateway" ? HOST_ADDRESS : to })),
        isolated: mode === "none",
        volumes: config.volumes,
        memoryBytes: config.memoryBytes,
        program,
        init: config.init === true,
        strace: config.strace,
      });
      const cvm = monitor.createCvm({
        name: config.name,
        memoryBytes: config.memoryBytes,
        ...(config.cpus > 0 ? { cpus: config.cpus } : {}),
        libraryOs: (host, address) =>
          ported ? behindPort(options(address), host, events.report) : createLibraryOs(options(address), host),
        events: {
          output: events.output,
          exited: (console, code, signal) => {
            if (console === 0) close();
            events.exit(console, code, signal);
          },
          fault: (report) => events.report(report.text),
          trace: (line) => events.report(line),
          problem: (text) => events.report(text),
        },
      });
      const leave = network.join(cvm.address, { mode, gateway: hosts.some((host) => host.address === "host-gateway"), dns, groups });
      const publications: Publication[] = [];
      const close = (): void => {
        for (const publication of publications.splice(0)) publication.close();
        leave();
      };
      try {
        const ports = [];
        for (const port of config.ports) {
          const publication = await (port.protocol === "udp"
            ? publishDatagrams(network, cvm.address, port)
            : publish(monitor, cvm.address, port));
          publications.push(publication);
          ports.push({ ...port, hostPort: publication.hostPort });
        }
        (state as { config: typeof config }).config = { ...config, ports };
        await cvm.start();
      } catch (error) {
        close();
        monitor.destroyCvm(cvm);
        throw error;
      }
      return {
        address: cvm.address,
        async exec(console, other) {
          const result = await cvm.exec(console, other);
          if (result < 0)
            throw Object.assign(new CliError("failed", `"${other.argv[0] ?? ""}" cannot be executed (errno ${-result})`), {
              errno: -result,
            });
        },
        input: (console, bytes) => cvm.input(console, bytes),
        resize: (console, columns, rows) => cvm.resize(console, columns, rows),
        signal: (console, signal) => cvm.kill(signal, console),
        destroy() {
          close();
          monitor.destroyCvm(cvm);
        },
        statistics: async () => ({ ...cvm.inspect(), calls: await cvm.statistics() }),
        capabilities: () => capabilityLines(monitor.capabilities(cvm)),
      };
    },
  };
}
