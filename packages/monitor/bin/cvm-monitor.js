#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createMachine } from "@cvm/cpu";
import { connectLibraryOs, createMonitor } from "../dist/index.js";

const USAGE = `Usage:
  cvm-monitor serve [--name NAME] [--memory MIB] [--cpus N] [--machine MIB] [--options JSON]

Runs one cVM whose library OS is the parent process: start this by child_process.fork with serialization "advanced" and call
serveLibraryOs there. The console is this process's standard input and output; the exit code is the program's (128 + n after signal n).
`;
const MIB = 1024 * 1024;

/** Prints the usage and ends with 2, or says what was wrong with the arguments. */
function usage(problem) {
  process.stderr.write(`cvm-monitor: ${problem}\n${USAGE}`);
  process.exit(2);
}

function number(text, name) {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) usage(`--${name} is a number greater than 0, not ${text}`);
  return value;
}

/** Node's channel to the parent process. */
const parent = {
  send: (message) => void process.send(message),
  onMessage: (listener) => void process.on("message", listener),
  onClose: (listener) => void process.on("disconnect", listener),
  close: () => process.connected && process.disconnect(),
};

async function serve({ name, memory, cpus, machine, options }) {
  if (process.send === undefined) usage("serve needs a parent process with a channel to it (child_process.fork)");
  let plain;
  try {
    plain = JSON.parse(options);
  } catch (error) {
    usage(`--options is not JSON: ${error.message}`);
  }
  const monitor = createMonitor(createMachine({ memoryBytes: number(machine, "machine") * MIB }));
  const ended = Promise.withResolvers();
  const cvm = monitor.createCvm({
    name,
    memoryBytes: number(memory, "memory") * MIB,
    ...(cpus === undefined ? {} : { cpus: number(cpus, "cpus") }),
    libraryOs: (host) =>
      connectLibraryOs(parent, host, { options: plain, violation: (what) => process.stderr.write(`cvm-monitor: ${what}\n`) }),
    events: {
      output: (_console, fd, bytes) => void (fd === 2 ? process.stderr : process.stdout).write(bytes),
      exited: (console, code, signal) => console === 0 && ended.resolve(signal === 0 ? code : 128 + signal),
      fault: (report) => void process.stderr.write(`${report.text}\n`),
      trace: (line) => void process.stderr.write(`${line}\n`),
      problem: (text) => void process.stderr.write(`${text}\n`),
    },
  });
  await cvm.start();
  process.stdin.on("data", (bytes) => cvm.input(0, bytes));
  process.stdin.on("end", () => cvm.input(0, new Uint8Array(0)));
  for (const [signal, value] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
  ])
    process.on(signal, () => cvm.kill(value));
  process.exitCode = await ended.promise;
  process.stdin.destroy();
  if (process.connected) process.disconnect();
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: "string", default: "cvm" },
      memory: { type: "string", default: "64" },
      cpus: { type: "string" },
      machine: { type: "string", default: "256" },
      options: { type: "string", default: "null" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean" },
    },
  });
  if (values.help) process.stdout.write(USAGE);
  else if (values.version)
    process.stdout.write(`${JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version}\n`);
  else if (positionals.length === 1 && positionals[0] === "serve") await serve(values);
  else usage(positionals.length === 0 ? "no command" : `unknown command: ${positionals.join(" ")}`);
} catch (error) {
  if (error?.code?.startsWith?.("ERR_PARSE_ARGS")) usage(error.message);
  process.stderr.write(`cvm-monitor: ${error?.message ?? error}\n`);
  process.exit(1);
}
