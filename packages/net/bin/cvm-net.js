#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { connectUnix, connectWebSocket, echoProtocol, listenUnix, listenWebSocket, NetError, openPort, serveEcho } from "../dist/index.js";

const USAGE = `Usage:
  cvm-net echo --port N | --unix PATH     serve the echo protocol (port 0: any free one)
  cvm-net ping URL | PATH [--count N]     measure round trips of 64 bytes to an echo server
`;

/** Prints the usage and ends with 2, or says what was wrong with the arguments. */
function usage(problem) {
  process.stderr.write(problem === undefined ? USAGE : `cvm-net: ${problem}\n${USAGE}`);
  process.exit(2);
}

async function echo({ port, unix }) {
  if ((port === undefined) === (unix === undefined)) usage("give --port or --unix");
  if (port !== undefined && !(/^\d{1,5}$/u.test(port) && Number(port) < 65536)) usage(`not a port: ${port}`);
  const listener = unix === undefined ? await listenWebSocket({ port: Number(port) }, serveEcho) : await listenUnix(unix, serveEcho);
  console.log(unix === undefined ? `listening on ws://127.0.0.1:${listener.port}/` : `listening on ${unix}`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void listener.close().then(() => process.exit(0)));
}

async function ping(target, { count }) {
  if (target === undefined) usage("ping needs the address of an echo server");
  if (!/^[1-9]\d{0,6}$/u.test(count)) usage(`not a count: ${count}`);
  const port = openPort(await (target.includes("://") ? connectWebSocket(target) : connectUnix(target)), echoProtocol, "client", {});
  await port.ready;
  const times = [];
  const data = new Uint8Array(64);
  for (let index = 0; index < Number(count); index++) {
    const start = performance.now();
    await port.request("echo", data);
    times.push((performance.now() - start) * 1000);
  }
  port.close();
  times.sort((a, b) => a - b);
  console.log(
    `${times.length} round trips: median ${times[times.length >> 1].toFixed(0)} us, fastest ${times[0].toFixed(0)} us, slowest ${times.at(-1).toFixed(0)} us`,
  );
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: "string" },
      unix: { type: "string" },
      count: { type: "string", default: "1000" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean" },
    },
  });
  if (values.help) process.stdout.write(USAGE);
  else if (values.version)
    process.stdout.write(`${JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version}\n`);
  else if (positionals[0] === "echo") await echo(values);
  else if (positionals[0] === "ping") await ping(positionals[1], values);
  else usage();
} catch (error) {
  if (error?.code?.startsWith("ERR_PARSE_ARGS")) usage(error.message);
  process.stderr.write(`cvm-net: ${error instanceof NetError ? error.message : error?.stack}\n`);
  process.exit(1);
}
