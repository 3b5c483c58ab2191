/** nginx with a master and two workers, and what wrk says of it: for benchmarks and suites. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const NGINX = "usr/sbin/nginx";
export const CLIENT = "wrk";
export const WORKERS = 2;
/** The file that is asked for: of 1 KiB. */
export const FILE = "1k.html";
const FILE_BYTES = 1024;

/** Paths that nginx has built in and a user's own folder has not. */
const TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/**
 * Puts a configuration and the file that it serves into a folder.
 * @param place of that folder for the server; its `tmp` must be writable
 * @returns the server's arguments
 */
export function writeSite(folder: string, place: string, temporary: string, port: number): string[] {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, FILE), "<p>0123456789</p>\n".repeat(FILE_BYTES).slice(0, FILE_BYTES));
  writeFileSync(
    join(folder, `nginx-${port}.conf`),
    `user root;
daemon off;
worker_processes ${WORKERS};
error_log stderr warn;
pid ${temporary}/nginx-${port}.pid;
events { worker_connections 512; }
http {
  access_log off;
  keepalive_requests 1000000000;
${TEMPORARY.map((name) => `  ${name}_temp_path ${temporary}/nginx-${port}-${name};\n`).join("")}  server {
    listen ${port};
    location / { root ${place}; }
  }
}
`,
  );
  return ["-e", "stderr", "-c", `${place}/nginx-${port}.conf`];
}

export interface WrkResult {
  readonly requestsPerSecond: number;
  readonly requests: number;
  /** Answers other than 2xx and 3xx, and errors of sockets. */
  readonly errors: number;
}

/** Reads wrk's report. @throws Error when it is none */
export function parseWrk(text: string): WrkResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  const requestsPerSecond = number(/^Requests\/sec: +([\d.]+)$/mu);
  const requests = number(/^ +(\d+) requests in /mu);
  if (!(requestsPerSecond >= 0) || !(requests >= 0)) throw new Error(`wrk said: "${text.trim().slice(-300)}"`);
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/u.exec(text)?.slice(1) ?? [];
  const others = number(/Non-2xx or 3xx responses: (\d+)/u);
  return { requestsPerSecond, requests, errors: [...sockets.map(Number), others || 0].reduce((sum, count) => sum + count, 0) };
}
