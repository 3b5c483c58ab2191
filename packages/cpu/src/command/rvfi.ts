/** `cvm-cpu rvfi`: an RVFI-DII server, for TestRIG and other tools that inject instructions. */
import { once } from "node:events";
import { serveRvfi } from "../rvfi/server.ts";
import { integerOption, UsageError, type Command } from "./command.ts";

const LOOPBACK = /^(127\.|::1$|localhost$)/u;

/** What to do about an error of listening. */
function explain(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const at = `${host}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new Error(`${at} is in use: choose another --port, or 0 for any free one`, { cause: error });
    case "EACCES":
      return new Error(`not allowed to listen at ${at}: choose a --port above 1023`, { cause: error });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new Error(`${host} is no address of this machine: choose another --host`, { cause: error });
    default:
      return error;
  }
}

export const rvfiCommand: Command = {
  name: "rvfi",
  usage: "--port N [--host ADDRESS] [--no-relocation] [--trapping]",
  summary: "serve RVFI-DII: clients inject instructions and get what each did; at 127.0.0.1 unless --host says otherwise",
  options: {
    port: { type: "string" },
    host: { type: "string", default: "127.0.0.1" },
    "no-relocation": { type: "boolean" },
    trapping: { type: "boolean" },
  },
  async run(input, io) {
    const port = integerOption(input, "port", 0, 65_535);
    if (port === undefined) throw new UsageError("--port is needed; 0 takes any free one");
    if (input.files.length > 0) throw new UsageError(`no files are taken: ${input.files.join(" ")}`);
    const host = String(input.values["host"]);
    const relocation = input.values["no-relocation"] !== true;
    const tagClearing = input.values["trapping"] !== true;
    const server = await serveRvfi({
      host,
      port,
      target: { relocation, tagClearing },
      log: (line) => io.err(`${line}\n`),
    }).catch((error: unknown) => {
      throw explain(error as NodeJS.ErrnoException, host, port);
    });
    if (!LOOPBACK.test(server.host)) io.err("cvm-cpu rvfi: other machines can connect; there is no authentication\n");
    const what = `${relocation ? "with" : "without"} relocation, ${tagClearing ? "tag clearing" : "trapping"}`;
    io.out(`listening at ${server.host}:${server.port} (${what})\n`);
    const stop = new AbortController();
    try {
      await Promise.race(["SIGINT", "SIGTERM"].map((signal) => once(process, signal, { signal: stop.signal })));
    } finally {
      stop.abort();
    }
    await server.close();
    io.out("stopped\n");
    return 0;
  },
};
