import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connectUnix, NetError, openPort } from "@cvm/net";
import { CliError } from "../errors.ts";
import { cvmHome, Folder } from "../home.ts";
import { build } from "../version.ts";
import type { HostConnection } from "./connection.ts";
import { hostProtocol } from "./link.ts";
import type { Events, Results } from "./protocol.ts";

/** Most milliseconds that a host may take to come up. */
const START_MS = 15_000;

export function socketPath(): string {
  return join(Folder.run(), "host.sock");
}

/** A connection to the host, or undefined when none runs. */
export async function connectRunningHost(): Promise<HostConnection | undefined> {
  if (!existsSync(socketPath())) return undefined;
  let port;
  try {
    port = openPort(await connectUnix(socketPath()), hostProtocol, "client", {}, { requestMs: Infinity });
    await port.ready;
  } catch (error) {
    // Also when it ends just now, between the connection and its greeting.
    if (error instanceof NetError && error.code !== "protocol") return undefined;
    throw error;
  }
  let closing = false;
  return {
    request: (method, params) => port.request(method, params) as Promise<Results[typeof method]>,
    on: (event, listener) => void port.on(event, (data) => listener(data as Events[typeof event])),
    onClose: (listener) =>
      void port.closed.then((reason) => {
        if (!closing) listener(reason.message);
      }),
    close: () => {
      closing = true;
      port.close();
    },
  };
}

/**
 * A connection to the host, which is started when none runs. A host of older code that runs nothing is replaced.
 * @throws CliError `unavailable` with the end of the host's log when it does not come up.
 */
export async function connectHost(): Promise<HostConnection> {
  const present = await connectRunningHost();
  if (present !== undefined) {
    const hello = await present.request("hello", {});
    if (hello.build === build || hello.running > 0) return present;
    await present.request("shutdown", {}).catch(() => {});
    present.close();
    await waitUntilGone(hello.pid);
  }
  const log = join(Folder.run(), "host.log");
  const output = openSync(log, "a", 0o600);
  const command = fileURLToPath(new URL("../../bin/cvm.js", import.meta.url));
  // The host works in another folder: it gets the absolute path of the home.
  const env = { ...process.env, CVM_HOME: cvmHome() };
  const child = spawn(process.execPath, [command, "host", "run"], { detached: true, stdio: ["ignore", output, output], cwd: "/", env });
  closeSync(output);
  let ended: number | null | undefined;
  child.on("exit", (status) => (ended = status));
  child.on("error", () => (ended = null));
  child.unref();
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    const connection = await connectRunningHost();
    if (connection !== undefined) return connection;
    // Exit code 3: another command started a host at the same time; that one answers soon.
    if (ended !== undefined && ended !== 0 && ended !== 3) break;
    await sleep(15);
  }
  const last = readFileSync(log, "utf8").trimEnd().split("\n").slice(-5).join("\n");
  throw new CliError("unavailable", `the host process did not come up; its log ${log} ends with:\n${last}`);
}

async function waitUntilGone(pid: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(10);
  }
}
