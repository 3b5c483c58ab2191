/**
 * The network of cVMs as users of containers expect it, with Python's sockets inside. The servers are the test's own, on this machine's
 * loopback (by the name host-gateway) and, where it has one, on another of its addresses.
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import type { Socket as DatagramSocket } from "node:dgram";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cvm as run, ensureImage, freePort, TEST_HOME } from "../support/cvm.ts";
import type { Result } from "../support/cvm.ts";

const IMAGE = "python-sockets";
const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
/** An address of this machine that is not its loopback. */
const address = own.find((one) => !one.internal && one.family === "IPv4")?.address;
const servers: (Server | DatagramSocket)[] = [];

function listen(handler: (socket: Socket) => void, host = "127.0.0.1"): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      handler(socket);
    });
    servers.push(server);
    server.listen(0, host, () => resolve((server.address() as AddressInfo).port));
  });
}
function answering(answer: (bytes: Buffer) => Uint8Array, host = "127.0.0.1"): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    servers.push(socket);
    socket.on("message", (bytes, { address: to, port }) => socket.send(answer(bytes), port, to));
    socket.bind(0, host, () => resolve(socket.address().port));
  });
}

beforeAll(async () => {
  await ensureImage(IMAGE, ["python3-minimal", "libpython3-stdlib"]);
}, 600_000);
afterAll(() => {
  for (const server of servers) server.close();
});

describe.each(["direct", "port"])("library OS %s", (topology) => {
  const home = mkdtempSync(join(tmpdir(), "cvm-network-"));
  const cvm = (...args: string[]): Promise<Result> => run(args, { env: { CVM_HOME: home, CVM_LIBRARY_OS: topology }, timeoutMs: 100_000 });
  const python = ["-v", `${import.meta.dirname}:/test:ro`, IMAGE, "python3", "/test/network.py"];
  /** Lines that a program in a cVM of its own prints. */
  async function lines(options: readonly string[], ...args: (string | number)[]): Promise<string[]> {
    const { status, stdout, stderr } = await cvm("run", "--rm", ...options, ...python, ...args.map(String));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return stdout.trimEnd().split("\n");
  }
  async function serve(name: string, kind: string, ...ports: string[]): Promise<void> {
    const started = await cvm("run", "-d", "--name", name, ...ports.flatMap((port) => ["-p", port]), ...python, "serve", kind, "7000");
    expect(started).toMatchObject({ status: 0, stderr: "" });
    for (let tries = 0; !(await cvm("logs", name)).stdout.includes("ready"); tries++) {
      expect(tries, (await cvm("logs", name)).stdout).toBeLessThan(200);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  beforeAll(() => cpSync(join(TEST_HOME, "images"), join(home, "images"), { recursive: true }));
  afterAll(async () => {
    await cvm("host", "stop");
    rmSync(home, { recursive: true, force: true });
  });

  test("streams to this machine by host-gateway: half-close, resets, errors, and pressure both ways", async () => {
    const echo = await listen((socket) => {
      const parts: Buffer[] = [];
      socket.on("data", (bytes: Buffer) => parts.push(bytes));
      socket.on("end", () => socket.end(Buffer.concat(parts).toReversed()));
    });
    const errors: (string | undefined)[] = [];
    const reset = await listen((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code));
      socket.once("data", () => socket.resetAndDestroy());
    });
    let stopped: Socket | undefined;
    let written = 0;
    const sink = await listen((socket) => {
      stopped = socket.pause();
      socket.on("data", (bytes: Buffer) => (written += bytes.length));
      socket.on("end", () => socket.end(`${written} bytes`));
    });
    const data = Buffer.alloc(20_000_000, "0123456789abcdef\n");
    const source = await listen((socket) => {
      socket.once("data", (command: Buffer) => {
        if (command.toString() === "go") stopped?.resume();
        else socket.end(data);
      });
    });
    expect(await lines(["--add-host", "box:host-gateway"], "outbound", "box", echo, reset, sink, source, await freePort())).toEqual([
      "half-close True",
      "reset ECONNRESET",
      "refused ('EINPROGRESS', True, 'ECONNREFUSED')",
      "epoll (True, 0, True)",
      "pressure 40000000 bytes",
      `slow (20000000, '${createHash("md5").update(data).digest("hex")}')`,
      "abort closed",
    ]);
    expect(errors).toEqual(["ECONNRESET"]);
  });

  test("this machine's loopback, its link and clouds' servers are out of reach unless allowed", async () => {
    const port = await listen((socket) => socket.end("secret"));
    const datagram = createSocket("udp4");
    servers.push(datagram);
    let heard = 0;
    datagram.on("message", () => heard++);
    await new Promise<void>((resolve) => datagram.bind(port, "127.0.0.1", () => resolve()));
    const inside = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"];
    const outside = ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fd00:ec2::254"];
    const gateway = ["10.88.0.1", "fd63:766d::a58:1", "::ffff:10.88.0.1"];
    const said = await lines([], "refused", port, ...inside, ...outside, ...gateway);
    expect(said).toEqual([
      ...inside.flatMap((one) => [`tcp ${one} ECONNREFUSED`, `udp ${one} ECONNREFUSED`]),
      ...outside.flatMap((one) => [`tcp ${one} ENETUNREACH`, `udp ${one} ENETUNREACH`]),
      ...gateway.flatMap((one) => [`tcp ${one} EHOSTUNREACH`, `udp ${one} EHOSTUNREACH`]),
    ]);
    expect(heard).toBe(0);
    expect(await lines(["--add-host", "box:host-gateway"], "refused", port, "10.88.0.1")).toContain("tcp 10.88.0.1 b'secret'");
  });

  test.skipIf(address === undefined)(
    "other addresses of this machine are the outside: bridge reaches them, internal and none do not",
    async () => {
      const port = await listen((socket) => socket.end("welcome"), address);
      const echo = await answering((bytes) => bytes, address);
      expect((await lines([], "refused", port, address!))[0]).toBe(`tcp ${address} b'welcome'`);
      expect(await lines([], "datagrams", address!, echo, await freePort())).toEqual([
        "echo 1",
        "echo 1400",
        "echo 9000",
        "echo 60000",
        "again True",
        "unreachable ECONNREFUSED",
      ]);
      for (const mode of ["internal", "none"])
        expect(await lines(["--network", mode], "refused", port, address!)).toEqual([
          `tcp ${address} ENETUNREACH`,
          `udp ${address} ENETUNREACH`,
        ]);
    },
  );

  test("datagrams to this machine by host-gateway", async () => {
    const echo = await answering((bytes) => bytes);
    expect(await lines(["--add-host", "box:host-gateway"], "datagrams", "10.88.0.1", echo, await freePort())).toEqual([
      "echo 1",
      "echo 1400",
      "echo 9000",
      "echo 60000",
      "again True",
      "unreachable ECONNREFUSED",
    ]);
  });

  test("names: of the outside by the given server, of --add-host, of the cVM itself", async () => {
    const port = await answering((query) => {
      const end = query.indexOf(0, 12) + 5;
      const type = query.readUInt16BE(end - 4);
      const first = query
        .subarray(13, 13 + query[12]!)
        .toString()
        .toLowerCase();
      const found: Record<string, readonly [number, number[]]> = {
        web: [1, [192, 0, 2, 7]],
        six: [28, [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 9]],
        "7": [12, [3, ...Buffer.from("web"), 7, ...Buffer.from("example"), 0]],
      };
      const [, data] = found[first]?.[0] === type ? found[first] : [0, null];
      const head = Buffer.from([
        query[0]!,
        query[1]!,
        0x81,
        found[first] === undefined ? 0x83 : 0x80,
        0,
        1,
        0,
        data === null ? 0 : 1,
        0,
        0,
        0,
        0,
      ]);
      const record = data === null ? [] : [0xc0, 12, type >> 8, type, 0, 1, 0, 0, 0, 9, 0, data.length, ...data];
      return Buffer.concat([head, query.subarray(12, end), Buffer.from(record)]);
    });
    const names = ["web.example", "six.example", "nobody.example", "localhost", "box", "ten"];
    expect(
      await lines(["--dns", `127.0.0.1:${port}`, "--add-host", "box:2001:db8::5", "--add-host", "ten:10.1.2.3"], "resolve", ...names),
    ).toEqual([
      "web.example ['192.0.2.7']",
      "six.example ['2001:db8::9']",
      "nobody.example [Errno -2] Name or service not known",
      "localhost ['127.0.0.1', '::1']",
      "box ['2001:db8::5']",
      "ten ['10.1.2.3']",
      "reverse web.example",
    ]);
    expect((await lines(["--dns", `127.0.0.1:${port}`, "--network", "internal"], "resolve", "web.example"))[0]).toContain("Errno -2");
  });

  test("cVMs reach each other by both families, streams and datagrams; published ports reach listeners of either", async () => {
    const [first, second, third] = [await freePort(), await freePort(), await freePort()] as const;
    try {
      await serve("four", "four", `127.0.0.1:${first}:7000`, `127.0.0.1:${first}:7000/udp`);
      await serve("six", "six", `127.0.0.1:${second}:7000`, `127.0.0.1:${second}:7000/udp`);
      await serve("both", "both", `[::1]:${third}:7000`, `[::1]:${third}:7000/udp`);
      const said = (await lines([], "ask", 7000, "four", "six", "both")).map((line) =>
        line.replaceAll(/10\.88\.\d+\.\d+/gu, "FOUR").replaceAll(/fd63:766d::[\da-f]+:[\da-f]+/gu, "SIX"),
      );
      expect(said).toEqual([
        "tcp 4 four FOUR",
        "udp 4 four FOUR 5",
        "tcp 6 four ECONNREFUSED",
        "udp 6 four ECONNREFUSED",
        "tcp 4 six ECONNREFUSED",
        "udp 4 six ECONNREFUSED",
        "tcp 6 six SIX",
        "udp 6 six SIX 5",
        "tcp 4 both ::ffff:FOUR",
        "udp 4 both ::ffff:FOUR 5",
        "tcp 6 both SIX",
        "udp 6 both SIX 5",
      ]);
      for (const [port, host, peer] of [
        [first, "127.0.0.1", "10.88.0.1"],
        [second, "127.0.0.1", "fd63:766d::a58:1"],
        [third, "::1", "::ffff:10.88.0.1"],
      ] as const) {
        const stream = await new Promise<string>((resolve, reject) => {
          let text = "";
          const socket = createConnection({ host, port }, () => {});
          socket.on("data", (bytes: Buffer) => (text += bytes.toString()));
          socket.on("end", () => resolve(text));
          socket.on("error", reject);
        });
        expect(stream).toBe(peer);
        // Two at once, from different ports: each gets its own answer.
        const clients = [1, 2].map(() => createSocket(host === "::1" ? "udp6" : "udp4"));
        const answers = await Promise.all(
          clients.map(
            (client, index) =>
              new Promise<string>((resolve) => {
                client.on("message", (bytes) => resolve(bytes.toString()));
                client.send("x".repeat(index + 1), port, host);
              }),
          ),
        );
        for (const client of clients) client.close();
        expect(answers).toEqual([`${peer} 1`, `${peer} 2`]);
      }
      const alone = await lines(["--network", "none"], "refused", 7000, "10.88.0.2", "fd63:766d::a58:2");
      expect(alone.every((line) => line.endsWith("ENETUNREACH"))).toBe(true);
    } finally {
      await cvm("rm", "-f", "four", "six", "both");
    }
  });

  test("options that make no sense are usage errors", async () => {
    for (const [options, text] of [
      [["--network", "host"], "--add-host NAME:host-gateway"],
      [["--network", "none", "-p", "80:80"], "--network none"],
      [["--add-host", "box"], "NAME:ADDRESS"],
      [["--dns", "dns.example"], "name server"],
    ] as const) {
      const { status, stderr } = await cvm("run", "--rm", ...options, IMAGE, "true");
      expect(status).toBe(125);
      expect(stderr).toContain(text);
    }
  });
});
