import type { HostConnection } from "../host/connection.ts";
import { CliError } from "../errors.ts";

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

export interface AttachOptions {
  readonly id: string;
  readonly console: number;
  readonly tty: boolean;
  readonly stdin: boolean;
}

/**
 * Connects this terminal to a console of a cVM until its program ends. Detaches at ctrl-p ctrl-q on a terminal.
 * Signals INT, TERM, QUIT and HUP go to the program.
 * @param giveUp gives the terminal back when there is nothing to follow; the promise then stays as it is
 * @returns the exit code, or null when detached
 */
export function follow(host: HostConnection, options: AttachOptions, giveUp?: AbortSignal): Promise<number | null> {
  const { id, console, tty, stdin } = options;
  return new Promise((resolve, reject) => {
    let finished = false;
    const cleanUps: (() => void)[] = [];
    const letGo = (): boolean => {
      if (finished) return false;
      finished = true;
      for (const cleanUp of cleanUps) cleanUp();
      return true;
    };
    const finish = (code: number | null): void => {
      if (letGo()) resolve(code);
    };
    giveUp?.addEventListener("abort", letGo, { once: true });
    host.on("output", (data) => {
      if (data.id === id && data.console === console) (data.fd === 2 ? process.stderr : process.stdout).write(data.bytes);
    });
    host.on("report", (data) => {
      if (data.id === id) process.stderr.write(data.text.endsWith("\n") ? data.text : `${data.text}\n`);
    });
    host.on("exit", (data) => {
      if (data.id === id && (data.console === console || data.console === 0)) finish(data.code);
    });
    host.onClose((reason) => {
      if (letGo()) reject(new CliError("failed", `the host process went away while the cVM ran: ${reason}`));
    });

    for (const [name, number] of [
      ["SIGINT", 2],
      ["SIGTERM", 15],
      ["SIGQUIT", 3],
      ["SIGHUP", 1],
    ] as const) {
      const forward = (): void => {
        host.request("kill", { id, signal: number }).catch(() => {});
      };
      process.on(name, forward);
      cleanUps.push(() => process.off(name, forward));
    }
    if (tty && process.stdout.isTTY) {
      const resize = (): void => {
        host.request("resize", { id, console, columns: process.stdout.columns, rows: process.stdout.rows }).catch(() => {});
      };
      process.stdout.on("resize", resize);
      cleanUps.push(() => process.stdout.off("resize", resize));
    }
    if (stdin) {
      const raw = tty && process.stdin.isTTY;
      if (raw) process.stdin.setRawMode(true);
      let prefix = false;
      const onData = (chunk: Buffer): void => {
        if (raw) {
          for (const byte of chunk) {
            if (prefix && byte === CTRL_Q) return finish(null);
            prefix = byte === CTRL_P;
          }
        }
        // One piece at a time: a program that reads slowly must not fill the link.
        process.stdin.pause();
        const go = (): void => {
          if (!finished) process.stdin.resume();
        };
        host.request("input", { id, console, bytes: new Uint8Array(chunk) }).then(go, go);
      };
      const onEnd = (): void => {
        host.request("input", { id, console, bytes: new Uint8Array() }).catch(() => {});
      };
      process.stdin.on("data", onData);
      process.stdin.on("end", onEnd);
      cleanUps.push(() => {
        process.stdin.off("data", onData);
        process.stdin.off("end", onEnd);
        if (raw) process.stdin.setRawMode(false);
        process.stdin.pause();
        process.stdin.unref?.();
      });
    }
  });
}

/** This terminal's size, when there is one. */
export function terminalSize(): { columns?: number; rows?: number } {
  // One that nobody gave a size (a program on the other side) says 0.
  return process.stdout.isTTY && process.stdout.columns > 0 && process.stdout.rows > 0
    ? { columns: process.stdout.columns, rows: process.stdout.rows }
    : {};
}
