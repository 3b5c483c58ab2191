/**
 * The suite `ipc`: messages between two programs. cVMs by a CP_Stream and by TCP, programs of one cVM by a pipe, a Unix socket and TCP, beside the same here and under
 * qemu-riscv64; and copies into and out of a CP_File beside memcpy. The cVMs are on a host in this process; everything runs on one core.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CpRight } from "@cvm/monitor/abi";
import { InProcessHost, type Ended as CvmEnded, type Running } from "../test/support/in-process.ts";
import type { Measure, Sample, Work } from "./measure.ts";
import { those } from "./peers.ts";
import { mustBeOk, run } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import type { Context, Ready, Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

const SIZES: Readonly<Record<string, number>> = { "64": 64, "4k": 4096, "64k": 65536, "1m": 1048576 };
/** Bytes of a message that goes there and back. */
const TRIP = 64;
const LISTEN_MS = 20_000;

interface Test {
  readonly name: string;
  /** cp and tcp: between two cVMs; others within one. */
  readonly way: "cp" | "tcp" | "pipe" | "unix" | "inner-tcp" | "file";
  /** What it is compared with. */
  readonly peer: "pipe" | "unix" | "tcp" | "memcpy";
  readonly test: "stream" | "trip" | "copy";
  readonly size: number;
}

const TESTS: readonly Test[] = [
  ...(["cp", "tcp", "pipe", "unix", "inner-tcp"] as const).flatMap((way): Test[] => {
    const peer = way === "tcp" || way === "inner-tcp" ? "tcp" : way === "pipe" ? "pipe" : "unix";
    return [
      // A stream of large messages is compared with what is fastest here.
      ...Object.entries(SIZES).map(([name, size]): Test => ({
        name: `${way}-${name}`,
        way,
        peer: way === "cp" && name === "1m" ? "pipe" : peer,
        test: "stream",
        size,
      })),
      { name: `${way}-trip`, way, peer: way === "cp" ? "pipe" : peer, test: "trip", size: TRIP },
    ];
  }),
  ...Object.entries(SIZES).map(([name, size]): Test => ({ name: `file-${name}`, way: "file", peer: "memcpy", test: "copy", size })),
];

/** @throws Error when the output has no result */
function sampleOf(stdout: string, test: Test["test"]): Sample {
  const rate = Number(/^result (\S+)$/mu.exec(stdout)?.[1]);
  if (!(rate > 0)) throw new Error(`no result in "${stdout.trim().slice(-200)}"`);
  return { value: test === "trip" ? 1 / rate : rate };
}

/** Runs a test on a host of its own: what an earlier one left plays no part. */
async function inCvms({ way, test, size }: Test, folder: string, seconds: number): Promise<Sample> {
  const host = new InProcessHost();
  try {
    const everybody = (rights: number): { cvm: string; rights: number }[] => [{ cvm: "*", rights }];
    host.monitor.objects.declare({ kind: "stream", name: "bench", grants: everybody(CpRight.Connect | CpRight.Listen) });
    host.monitor.objects.declare({ kind: "file", name: "bench", size: 1048576, grants: everybody(CpRight.Read | CpRight.Write) });
    const start = (name: string, ...argv: string[]): Promise<Running> =>
      host.start({ name, layers: [], argv, volumes: { "/bench": folder } });
    const ended = async (running: Running): Promise<Sample> => {
      const end: CvmEnded = await running.ended;
      if (end.code !== 0 || end.signal !== 0) throw new Error(`ended with ${end.code}, signal ${end.signal}: ${end.output.trim()}`);
      return sampleOf(end.output, test);
    };
    if (way === "file") return await ended(await start("one", "/bench/shared", String(size), String(seconds)));
    if (way !== "cp" && way !== "tcp")
      return await ended(await start("one", "/bench/ipc", "pair", way === "inner-tcp" ? "tcp" : way, test, String(size), String(seconds)));
    const [kind, place] = way === "cp" ? ["unix", "/cp/stream/bench"] : ["tcp", "7000"];
    const server = await start("server", "/bench/ipc", "serve", kind, place, test, String(size));
    for (const began = performance.now(); !server.output().includes("listening"); await sleep(2))
      if (performance.now() - began > LISTEN_MS) throw new Error(`the other end does not listen: ${server.output().trim()}`);
    const to = way === "cp" ? place : `${server.cvm.address}:7000`;
    return await ended(await start("client", "/bench/ipc", "ask", kind, to, test, String(size), String(seconds)));
  } finally {
    host.stop();
  }
}

function workOf(context: Context, test: Test, folders: { readonly native: string; readonly riscv: string }): Work {
  const { qemu, settings } = context;
  const seconds = String(settings.seconds);
  const program = test.way === "file" ? "shared" : "ipc";
  const args = test.way === "file" ? [String(test.size), seconds] : ["pair", test.peer, test.test, String(test.size), seconds];
  const here =
    (...command: readonly [string, ...string[]]): Measure =>
    async () =>
      sampleOf(mustBeOk(test.name, await run(command[0], [...command.slice(1), ...args])).stdout, test.test);
  return {
    suite: "ipc",
    name: test.name,
    unit: test.test === "trip" ? "s" : test.test === "copy" ? "copies/s" : "messages/s",
    better: test.test === "trip" ? "less" : "more",
    target: targetOf("ipc", test.name),
    by: those({
      native: here(join(folders.native, program)),
      "qemu-riscv64": qemu === undefined ? undefined : here(qemu, join(folders.riscv, program)),
      cVM: () => inCvms(test, folders.riscv, settings.seconds),
    }),
  };
}

function prepare(context: Context): Promise<Ready> {
  const folders = { native: buildPrograms("native", context.say), riscv: buildPrograms("riscv", context.say) };
  const works = TESTS.filter(({ name }) => context.wanted(name)).map((test) => workOf(context, test, folders));
  return Promise.resolve({ works, stop: () => Promise.resolve() });
}

export const ipc: Suite = { name: "ipc", names: () => TESTS.map(({ name }) => name), prepare };
