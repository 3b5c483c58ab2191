/** Names of bound Unix sockets: nodes of the file system by device and inode, and abstract names. */
import { Access } from "../files/constants.ts";
import { S } from "../files/constants.ts";
import { permission } from "../files/node.ts";
import { E } from "../kernel/errno.ts";
import type { CallContext, Stat } from "../kernel/types.ts";
import type { UnixAddress } from "./address.ts";
import type { UnixSocket } from "./unix.ts";

const nodeKey = (stat: Stat): string => `${stat.dev}:${stat.ino}`;

export class UnixNames {
  readonly #nodes: Map<string, UnixSocket> = new Map();
  readonly #abstract: Map<string, UnixSocket> = new Map();
  #nextAuto = 1;

  /** Gives a socket a name: 0, -EADDRINUSE and the errors of mknod(2). Returns how to take it back. */
  bind(
    address: UnixAddress,
    socket: UnixSocket,
    context: CallContext,
  ): { readonly address: UnixAddress; readonly release: () => void } | number {
    if (address.kind === "path") {
      const { vfs } = context.kernel;
      const { cwd } = context.process.fs;
      const made = vfs.mknod(address.path, cwd, S.IFSOCK | 0o777, 0, context);
      if (made < 0) return made === -E.EXIST ? -E.ADDRINUSE : made;
      const stat = vfs.stat(address.path, cwd, false, context);
      if (typeof stat === "number") return stat;
      const key = nodeKey(stat);
      this.#nodes.set(key, socket);
      return { address, release: () => this.#nodes.get(key) === socket && this.#nodes.delete(key) };
    }
    let name = address.kind === "abstract" ? address.name : "";
    if (address.kind === "unnamed") {
      // Autobind: five hexadecimal digits.
      do name = (this.#nextAuto++ & 0xfffff).toString(16).padStart(5, "0");
      while (this.#abstract.has(name));
    } else if (this.#abstract.has(name)) return -E.ADDRINUSE;
    this.#abstract.set(name, socket);
    return { address: { kind: "abstract", name }, release: () => void this.#abstract.delete(name) };
  }

  /** Errors of a path that somebody connects to: -ENOENT and others, -EACCES (no write permission). */
  denied(address: UnixAddress, context: CallContext): number {
    const stat = address.kind === "path" ? context.kernel.vfs.stat(address.path, context.process.fs.cwd, true, context) : -E.INVAL;
    return typeof stat === "number" ? stat : permission(stat, Access.WRITE, context.process.credentials);
  }

  /** Who has a name. -ENOENT and other errors of the path, -EACCES (no write permission), -ECONNREFUSED (nobody, or no socket). */
  find(address: UnixAddress, context: CallContext): UnixSocket | number {
    if (address.kind === "unnamed") return -E.INVAL;
    if (address.kind === "abstract") return this.#abstract.get(address.name) ?? -E.CONNREFUSED;
    const stat = context.kernel.vfs.stat(address.path, context.process.fs.cwd, true, context);
    if (typeof stat === "number") return stat;
    const denied = permission(stat, Access.WRITE, context.process.credentials);
    if (denied < 0) return denied;
    return this.#nodes.get(nodeKey(stat)) ?? -E.CONNREFUSED;
  }
}
