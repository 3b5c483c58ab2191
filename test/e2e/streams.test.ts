/** CP_Streams as unmodified programs meet them: sockets of the path /cp/stream/NAME, and files to open. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackImage } from "../../packages/cli/src/images/layer.ts";
import { requireImage } from "../../packages/cli/src/images/store.ts";
import { CpRight } from "../../packages/monitor/src/abi.ts";
import { ensureImage, TEST_HOME } from "../support/cvm.ts";
import { InProcessHost, type Ended, type Running } from "../support/in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "cvm-streams-"));
const volumes = { "/test": folder };
let busybox: readonly string[];
let python: readonly string[];
let redis: readonly string[];
let netcat: readonly string[];

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "/bin/sh");
  await ensureImage("python", ["python3"]);
  await ensureImage("redis", ["redis-server", "redis-tools"]);
  await ensureImage("netcat", ["netcat-openbsd"]);
  const layersOf = async (name: string): Promise<readonly string[]> => unpackImage(requireImage(name));
  busybox = await layersOf("busybox");
  python = await layersOf("python");
  redis = await layersOf("redis");
  netcat = await layersOf("netcat");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A host with streams: "db" has a server called "server", anybody may connect; "private" is for another cVM; "echo" is open to all. */
function host(): InProcessHost {
  const made = new InProcessHost();
  const { objects } = made.monitor;
  objects.declare({
    kind: "stream",
    name: "db",
    grants: [
      { cvm: "server", rights: CpRight.Listen },
      { cvm: "*", rights: CpRight.Connect },
    ],
  });
  objects.declare({ kind: "stream", name: "echo", grants: [{ cvm: "*", rights: CpRight.Connect | CpRight.Listen }] });
  objects.declare({ kind: "stream", name: "private", grants: [{ cvm: "other", rights: CpRight.Connect | CpRight.Listen }] });
  return made;
}

/** Waits until a program has written something. */
const says = async (running: Running, text: string): Promise<void> => {
  await expect.poll(running.output, { timeout: 60_000 }).toContain(text);
};

describe.each([
  ["one process", false],
  ["behind a port", true],
] as const)("streams under /cp, library OS: %s", (_, ported) => {
  const shell = async (script: string, on: InProcessHost, name = "client"): Promise<Ended> =>
    on.run({ name, layers: busybox, argv: ["/bin/sh", "-c", script], ported });
  const py = async (script: string, on: InProcessHost, name: string): Promise<Running> => {
    writeFileSync(join(folder, `${name}.py`), script);
    return on.start({ name, layers: python, argv: ["/usr/bin/python3", "-u", `/test/${name}.py`], volumes, ported });
  };

  test("redis-server listens, redis-cli connects", async () => {
    const on = host();
    const server = await on.start({
      name: "server",
      layers: redis,
      argv: ["/usr/bin/redis-server", "--port", "0", "--unixsocket", "/cp/stream/db", "--unixsocketperm", "700", "--save", ""],
      ported,
    });
    await says(server, "eady to accept connections unix");
    const cli = async (name: string, ...argv: string[]): Promise<string> => {
      const ended = await on.run({ name, layers: redis, argv: ["/usr/bin/redis-cli", "-s", "/cp/stream/db", ...argv], ported });
      return ended.output.trim();
    };
    expect(await cli("first", "SET", "k", "v")).toBe("OK");
    expect(await cli("second", "GET", "k")).toBe("v");
    expect(await cli("third", "CLIENT", "LIST")).toContain("/cp/stream/db");
    expect(await cli("fourth", "SHUTDOWN", "NOSAVE")).toBe("");
    const { code } = await server.ended;
    expect(code).toBe(0);
    expect(await cli("fifth", "PING")).toMatch(/Could not connect to Redis at \/cp\/stream\/db: Connection refused/u);
    on.stop();
  });

  test("a shell and netcat talk", async () => {
    const on = host();
    const nc = await on.start({ name: "one", layers: netcat, argv: ["/bin/nc.openbsd", "-lU", "/cp/stream/echo"], ported });
    await expect.poll(() => nc.cvm.inspect().listeners, { timeout: 60_000 }).toBe(1);
    const ended = await shell("exec 3<>/cp/stream/echo && echo from the shell >&3 && ls -l /proc/self/fd/3 | grep -c socket", on);
    expect(ended).toEqual({ code: 0, signal: 0, output: "1\n" });
    expect((await nc.ended).output).toBe("from the shell\n");
    const gone = await shell("exec 3<>/cp/stream/echo", on, "late");
    expect(gone.output).toContain("Connection refused");
    on.stop();
  });

  test("bytes both ways, half-close, peek, wait for all, no descriptors; a message stays whole for SOCK_SEQPACKET", async () => {
    const on = host();
    const server = await py(
      `import socket, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
os.unlink("/cp/stream/echo")
s.bind("/cp/stream/echo"); s.listen(1); print("listening", s.getsockname())
c, who = s.accept()
print(repr(who), c.getsockname(), c.getsockopt(socket.SOL_SOCKET, 17, 12).hex())
got = b""
while part := c.recv(65536): got += part
print(len(got), got == bytes(i % 251 for i in range(1000000)))
c.sendall(got[::-1]); c.close(); s.close()
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("/cp/stream/echo"); s.listen(1); print("messages")
c, who = s.accept()
for size in (3, 100, 200000): print(len(c.recv(size)))
m = c.recvmsg(4); print(m[0], m[2] & socket.MSG_TRUNC != 0, c.recv(10))
for n in (200000, 5, 200000, 7): c.send(bytes(n))
c.close()
`,
      on,
      "one",
    );
    await says(server, "listening");
    const client = await py(
      `import socket, os, time, array, errno
c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
c.connect("/cp/stream/echo"); print(c.getpeername())
data = bytes(i % 251 for i in range(1000000))
try: socket.send_fds(c, [b"x"], [0])
except OSError as e: print(errno.errorcode[e.errno])
c.sendall(data); c.shutdown(socket.SHUT_WR)
print(c.recv(2, socket.MSG_PEEK) == data[:-3:-1], c.recv(500000, socket.MSG_WAITALL) == data[:499999:-1])
rest = b""
while part := c.recv(100000): rest += part
print(rest == data[499999::-1]); c.close()
c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
while True:
    try: c.connect("/cp/stream/echo"); break
    except ConnectionRefusedError: time.sleep(0.05)
print(c.send(b"abc"), c.send(bytes(50)), c.send(bytes(200000)), c.send(b"cut off"), c.send(b"next"))
for n in (0, 300000):
    try: c.send(bytes(n))
    except OSError as e: print(errno.errorcode[e.errno])
print([len(c.recv(262144)) for _ in range(5)])
`,
      on,
      "two",
    );
    expect((await client.ended).output.split("\n")).toEqual([
      "/cp/stream/echo",
      "ENOTSUP",
      "True True",
      "True",
      "3 50 200000 7 4",
      "EMSGSIZE",
      "EMSGSIZE",
      "[200000, 5, 200000, 7, 0]",
      "",
    ]);
    expect((await server.ended).output.split("\n")).toEqual([
      "listening /cp/stream/echo",
      "'' /cp/stream/echo 00000000feff0000feff0000",
      "1000000 True",
      "messages",
      "3",
      "50",
      "200000",
      "b'cut ' True b'next'",
      "",
    ]);
    on.stop();
  });

  test("what is refused, and with which error", async () => {
    const on = host();
    const listener = await py(
      `import socket, time
s = socket.socket(socket.AF_UNIX); s.bind("/cp/stream/echo"); s.listen(); print("listening"); time.sleep(600)`,
      on,
      "one",
    );
    await says(listener, "listening");
    const asks = await py(
      `import socket, os, errno, stat
U, S, D = socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM
def tries(name, act):
    try: result = act()
    except OSError as e: result = errno.errorcode[e.errno]
    print(name, result)
def bound(path):
    s = socket.socket(U, S); s.bind(path); s.listen()
tries("other listens", lambda: bound("/cp/stream/echo"))
tries("bind without the right", lambda: bound("/cp/stream/db"))
tries("bind of none", lambda: bound("/cp/stream/none"))
tries("hidden", lambda: socket.socket(U, S).connect("/cp/stream/private"))
tries("none", lambda: socket.socket(U, S).connect("/cp/stream/none"))
tries("nobody listens", lambda: socket.socket(U, S).connect("/cp/stream/db"))
tries("open, nobody listens", lambda: os.open("/cp/stream/db", os.O_RDWR))
tries("datagrams bind", lambda: socket.socket(U, D).bind("/cp/stream/echo"))
tries("datagrams connect", lambda: socket.socket(U, D).connect("/cp/stream/echo"))
tries("datagrams send", lambda: socket.socket(U, D).sendto(b"x", "/cp/stream/echo"))
tries("create", lambda: os.open("/cp/stream/new", os.O_CREAT | os.O_WRONLY))
tries("mkdir", lambda: os.mkdir("/cp/stream/new"))
tries("unlink without the right", lambda: os.unlink("/cp/stream/db"))
tries("rename", lambda: os.rename("/cp/stream/db", "/cp/stream/bd"))
tries("chmod", lambda: os.chmod("/cp/stream/db", 0o600))
os.chmod("/cp/stream/db", 0o666)
for name in ("db", "echo"):
    mode = os.stat("/cp/stream/" + name).st_mode
    print(name, stat.S_ISSOCK(mode), oct(mode & 0o7777), sorted(os.listdir("/cp/stream")))
c = socket.socket(U, S); c.setblocking(False); print(errno.errorcode[c.connect_ex("/cp/stream/db")])
import select; p = select.poll(); p.register(c, select.POLLOUT); p.poll(10000)
print(errno.errorcode[c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
c = socket.socket(U, S); c.setblocking(False); print(errno.errorcode[c.connect_ex("/cp/stream/echo")]); p = select.poll(); p.register(c, select.POLLOUT)
print(p.poll(10000)[0][1] & select.POLLOUT, c.connect_ex("/cp/stream/echo"), errno.errorcode[c.connect_ex("/cp/stream/echo")])
r = os.open("/cp/stream/echo", os.O_RDONLY)
tries("write to what was opened for reading", lambda: os.write(r, b"x"))
os.setgid(1000); os.setuid(1000)
tries("as another user", lambda: socket.socket(U, S).connect("/cp/stream/echo"))
`,
      on,
      "two",
    );
    expect((await asks.ended).output.split("\n")).toEqual([
      "other listens EADDRINUSE",
      "bind without the right EACCES",
      "bind of none ENOENT",
      "hidden ENOENT",
      "none ENOENT",
      "nobody listens ECONNREFUSED",
      "open, nobody listens ECONNREFUSED",
      "datagrams bind ENOTSUP",
      "datagrams connect EPROTOTYPE",
      "datagrams send EPROTOTYPE",
      "create ENOENT",
      "mkdir ENOENT",
      "unlink without the right EPERM",
      "rename EPERM",
      "chmod None",
      "db True 0o666 ['db', 'echo']",
      "echo True 0o777 ['db', 'echo']",
      "EINPROGRESS",
      "ECONNREFUSED",
      "EINPROGRESS",
      "4 0 EISCONN",
      "write to what was opened for reading EBADF",
      "as another user None",
      "",
    ]);
    const own = await py(
      `import socket, errno
print(errno.errorcode[socket.socket(socket.AF_UNIX).connect_ex("/cp/stream/db")])`,
      on,
      "server",
    );
    expect((await own.ended).output).toBe("EACCES\n");
    on.stop();
  });

  test("revoked, and the other cVM gone: ECONNRESET, then EPIPE with SIGPIPE; the listener's right taken away", async () => {
    const on = host();
    const server = await py(
      `import socket
s = socket.socket(socket.AF_UNIX); s.bind("/cp/stream/echo"); s.listen(); print("listening")
held = []
try:
    while True: held.append(s.accept()[0]); print("accepted", len(held))
except OSError as e: print("accept", e.errno)
`,
      on,
      "one",
    );
    await says(server, "listening");
    const client = `import socket, errno, signal, os, time
c = socket.socket(socket.AF_UNIX); c.connect("/cp/stream/echo"); print("connected")
try: c.recv(1)
except OSError as e: print(errno.errorcode[e.errno])
try: c.send(b"x")
except OSError as e: print(errno.errorcode[e.errno])
print(c.recv(1))
child = os.fork()
if child == 0: signal.signal(signal.SIGPIPE, signal.SIG_DFL); c.send(b"x"); print("not here")
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
`;
    const expected = { code: 0, signal: 0, output: "connected\nECONNRESET\nEPIPE\nb''\n13\n" };
    const two = await py(client, on, "two");
    await says(two, "connected");
    on.monitor.objects.revokeFrom(on.monitor.objects.get("stream", "echo")!, "two");
    expect(await two.ended).toEqual(expected);
    const three = await py(client, on, "three");
    await says(three, "connected");
    on.monitor.destroyCvm(server.cvm);
    expect(await three.ended).toEqual(expected);

    const again = await py(
      `import socket
s = socket.socket(socket.AF_UNIX); s.bind("/cp/stream/echo"); s.listen(); print("listening")
try: s.accept()
except OSError as e: print("accept", e.errno)
`,
      on,
      "four",
    );
    await says(again, "listening");
    on.monitor.objects.revokeFrom(on.monitor.objects.get("stream", "echo")!, "four");
    const { output } = await again.ended;
    expect(output).toBe("listening\naccept 22\n");
    on.stop();
  });
});
