/** Random changes in a cVM's tree and in a folder of this host: same results, same tree, also after restarts. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { hostError } from "./host.ts";
import { FakeKernel, makeLayer, temporaryFolder } from "./fake-kernel.test.support.ts";

const name = fc.constantFrom("a", "b", "c");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
const action = fc.oneof(
  fc.record({
    op: fc.constantFrom("create", "append", "mkdir", "unlink", "rmdir", "truncate", "symlink", "list", "read"),
    path,
    other: fc.constant(""),
  }),
  fc.record({ op: fc.constantFrom("rename", "rename", "link", "symlinkTo"), path, other: path }),
  fc.record({ op: fc.constantFrom("restart", "chmod"), path, other: fc.constant("") }),
);
type Action = { readonly op: string; readonly path: string; readonly other: string };

const TREE = { "t/a/a": "aa", "t/a/b/c": "abc", "t/b": "b", "t/c/a": "-> ../b", "t/c/b/a": "cba" } as const;

/** On this host; 0 or a negative errno, or what was read. */
function onHost(root: string, { op, path: at, other }: Action): unknown {
  const file = join(root, at);
  try {
    switch (op) {
      case "create":
        return closeSync(openSync(file, "wx", 0o644)) ?? 0;
      case "append": {
        const fd = openSync(file, "r+");
        closeSync(fd);
        appendFileSync(file, "more");
        return 0;
      }
      case "mkdir":
        return mkdirSync(file) ?? 0;
      case "unlink":
        return unlinkSync(file) ?? 0;
      case "rmdir":
        return rmdirSync(file) ?? 0;
      case "truncate":
        return truncateSync(file, 1) ?? 0;
      case "symlink":
        return symlinkSync("a", file) ?? 0;
      case "symlinkTo":
        return symlinkSync(other, file) ?? 0;
      case "list":
        return readdirSync(file).toSorted();
      case "read":
        return readFileSync(file, "utf8");
      case "rename":
        return renameSync(file, join(root, other)) ?? 0;
      case "link":
        return linkSync(file, join(root, other)) ?? 0;
      case "chmod":
        return chmodSync(file, 0o700) ?? 0;
      default:
        return 0;
    }
  } catch (error) {
    return hostError(error);
  }
}
function inside(box: FakeKernel, { op, path: at, other }: Action): unknown {
  const file = `/t/${at}`;
  switch (op) {
    case "create": {
      const fd = box.open(file, 0o301);
      return fd < 0 ? fd : box.call("close", fd);
    }
    case "append": {
      const fd = box.open(file, 0o2002);
      if (fd < 0) return fd;
      box.call("write", fd, Buffer.from("more"), 4);
      return box.call("close", fd);
    }
    case "mkdir":
      return box.call("mkdirat", -100, file, 0o755);
    case "unlink":
      return box.call("unlinkat", -100, file, 0);
    case "rmdir":
      return box.call("unlinkat", -100, file, 0x200);
    case "truncate":
      return box.call("truncate", file, 1);
    case "symlink":
      return box.call("symlinkat", "a", -100, file);
    case "symlinkTo":
      return box.call("symlinkat", other, -100, file);
    case "list":
      return box.list(file);
    case "read":
      return box.read(file);
    case "rename":
      return box.call("renameat2", -100, file, -100, `/t/${other}`, 0);
    case "link":
      return box.call("linkat", -100, file, -100, `/t/${other}`, 0);
    case "chmod":
      return box.call("fchmodat", -100, file, 0o700);
    default:
      return 0;
  }
}
function hostTree(folder: string, at = ""): string[] {
  return readdirSync(join(folder, at))
    .toSorted()
    .flatMap((entry) => {
      const file = join(at, entry);
      const stat = lstatSync(join(folder, file));
      if (stat.isDirectory()) return [`${file}/ ${(stat.mode & 0o777).toString(8)}`, ...hostTree(folder, file)];
      if (stat.isSymbolicLink()) return [`${file} -> ${readlinkSync(join(folder, file))}`];
      return [`${file} ${stat.nlink} ${(stat.mode & 0o777).toString(8)} ${readFileSync(join(folder, file), "utf8")}`];
    });
}
function boxTree(box: FakeKernel, at = ""): string[] {
  return (box.list(`/t/${at}`) as string[]).flatMap((entry) => {
    const file = join(at, entry);
    const stat = box.stat(`/t/${file}`, 0x100);
    if (typeof stat === "number") return [`${file} error ${stat}`];
    const mode = (stat.mode & 0o777).toString(8);
    if ((stat.mode & 0o170000) === 0o040000) return [`${file}/ ${mode}`, ...boxTree(box, file)];
    if ((stat.mode & 0o170000) === 0o120000)
      return [`${file} -> ${Buffer.from(box.bytes("readlinkat", -100, `/t/${file}`, 100, 100)).toString()}`];
    return [`${file} ${stat.nlink} ${mode} ${String(box.read(`/t/${file}`))}`];
  });
}

it.each(["layer", "empty layer", "volume"])("a tree over %s behaves as one of this host", (kind) => {
  process.umask(0o022);
  fc.assert(
    fc.property(fc.array(action, { minLength: 1, maxLength: 40 }), (actions) => {
      const folder = temporaryFolder();
      const layer = makeLayer(join(folder, "layer"), kind === "layer" ? TREE : { t: null });
      const host = join(folder, "host");
      mkdirSync(host);
      if (kind !== "empty layer")
        cpSync(kind === "layer" ? join(layer, "root/t") : join(makeLayer(join(folder, "source"), TREE), "root/t"), host, {
          recursive: true,
          verbatimSymlinks: true,
        });
      let box = new FakeKernel({
        folder,
        layers: [layer],
        ...(kind === "volume" ? { volumes: [{ source: join(folder, "source/root/t"), target: "/t", readOnly: false }] } : {}),
      });
      try {
        for (const step of actions) {
          if (step.op === "restart") box = box.reopened();
          expect(inside(box, step), JSON.stringify(step)).toEqual(onHost(host, step));
        }
        expect(boxTree(box)).toEqual(hostTree(host));
        box = box.reopened();
        expect(boxTree(box)).toEqual(hostTree(host));
      } finally {
        box.dispose();
      }
    }),
    { numRuns: 30 },
  );
});
