import type { Command } from "commander";
import { connectHost, connectRunningHost } from "../host/client.ts";
import { runHost } from "../host/server.ts";
import { version } from "../version.ts";

export function addHost(program: Command): void {
  const host = program.command("host").description("the host process that runs cVMs");
  host.command("run", { hidden: true }).description("run a host in this process").action(runHost);
  host
    .command("start")
    .description("start the host unless it runs; cVMs start again as their restart policies say")
    .action(async () => {
      const connection = await connectHost();
      const { pid } = await connection.request("hello", {});
      connection.close();
      process.stdout.write(`host, process ${pid}\n`);
    });
  host
    .command("status")
    .description("whether a host runs, and how many cVMs on it")
    .action(async () => {
      const connection = await connectRunningHost();
      if (connection === undefined) {
        process.stdout.write("no host is running\n");
        process.exitCode = 1;
        return;
      }
      const { pid, running, version: theirs } = await connection.request("hello", {});
      connection.close();
      process.stdout.write(`host ${theirs}, process ${pid}, ${running} running cVM${running === 1 ? "" : "s"}\n`);
    });
  host
    .command("stop")
    .description("end the host and all its cVMs")
    .action(async () => {
      const connection = await connectRunningHost();
      if (connection === undefined) return;
      await connection.request("shutdown", {}).catch(() => {});
      connection.close();
    });
  program
    .command("version")
    .description("print versions")
    .option("--format <format>", "json")
    .action((options: { format?: string }) => {
      const versions = { cvm: version, node: process.versions.node, v8: process.versions.v8 };
      process.stdout.write(
        options.format === "json" ? `${JSON.stringify(versions)}\n` : `cvm ${version} (Node ${versions.node}, V8 ${versions.v8})\n`,
      );
    });
}
