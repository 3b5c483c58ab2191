/**
 * An image layer on disk: a folder with `root/` (regular files, directories and symbolic links as host files; hard links are one host inode) and
 * `metadata.json` for what a host file cannot hold. Layers are read-only and shared by cVMs.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { S } from "./constants.ts";
import { OwnTree } from "./host.ts";

/** One path in a metadata file. `mode` includes S_IFMT. Device nodes, FIFOs and sockets exist only here. */
export interface MetadataEntry {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev?: number;
  /** Values in base64. */
  readonly xattrs?: Readonly<Record<string, string>>;
  /** Hides the name in the layers below; nothing else counts then. */
  readonly whiteout?: boolean;
  /** Hides the entries of this directory in the layers below. */
  readonly opaque?: boolean;
  /** Inode number kept when the file was copied up (writable layer only). */
  readonly ino?: number;
  /** Times set by utimensat, in nanoseconds as decimal strings; they hold while the host file's mtime is `host`. */
  readonly times?: { readonly atime: string; readonly mtime: string; readonly host: string };
  /** Last change of this entry, nanoseconds as a decimal string. */
  readonly ctime?: string;
  /** Volumes only: the host's inode number that the entry was made for; another file at the same path does not inherit it. */
  readonly hostInode?: number;
}

/** Shape of metadata.json. Paths have no leading slash; "" is the root directory. An entry that is missing takes the host file's mode, uid 0 and gid 0. */
export interface MetadataFile {
  readonly version: 1;
  readonly entries: Readonly<Record<string, MetadataEntry>>;
}

/** Metadata by path, as a tree: directories move with what is below. */
export class MetadataTree {
  readonly #root: TreeNode = { entry: undefined, children: undefined };

  get(path: string): MetadataEntry | undefined {
    return this.#find(path)?.entry;
  }
  /** Names below a directory that have an entry. */
  *children(path: string): IterableIterator<[string, MetadataEntry]> {
    const node = this.#find(path);
    if (node?.children) for (const [name, child] of node.children) if (child.entry) yield [name, child.entry];
  }
  set(path: string, entry: MetadataEntry): void {
    this.#make(path).entry = entry;
  }
  /** Forgets a path and everything below. */
  remove(path: string): void {
    this.#take(path);
  }
  /** Moves a path with everything below; replaces what was at `to`. */
  move(from: string, to: string): void {
    const node = this.#take(from);
    this.#take(to);
    if (node) {
      const slot = this.#make(to);
      slot.entry = node.entry;
      slot.children = node.children;
    }
  }
  swap(one: string, other: string): void {
    const a = this.#make(one);
    const b = this.#make(other);
    [a.entry, b.entry] = [b.entry, a.entry];
    [a.children, b.children] = [b.children, a.children];
  }
  *all(): IterableIterator<[string, MetadataEntry]> {
    yield* walk("", this.#root);
  }
  #find(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.#root;
    if (path !== "") for (const name of path.split("/")) if ((node = node.children?.get(name)) === undefined) return undefined;
    return node;
  }
  #make(path: string): TreeNode {
    let node = this.#root;
    if (path !== "") {
      for (const name of path.split("/")) {
        node.children ??= new Map();
        let next = node.children.get(name);
        if (next === undefined) node.children.set(name, (next = { entry: undefined, children: undefined }));
        node = next;
      }
    }
    return node;
  }
  #take(path: string): TreeNode | undefined {
    const slash = path.lastIndexOf("/");
    const parent = this.#find(slash < 0 ? "" : path.slice(0, slash));
    const name = path.slice(slash + 1);
    const node = parent?.children?.get(name);
    parent?.children?.delete(name);
    return node;
  }
}

interface TreeNode {
  entry: MetadataEntry | undefined;
  children: Map<string, TreeNode> | undefined;
}

function* walk(path: string, node: TreeNode): IterableIterator<[string, MetadataEntry]> {
  if (node.entry) yield [path, node.entry];
  if (node.children) for (const [name, child] of node.children) yield* walk(path === "" ? name : `${path}/${name}`, child);
}

/** A read-only layer. */
export class Layer {
  readonly tree: OwnTree;
  readonly metadata: MetadataTree;
  private constructor(folder: string) {
    this.tree = new OwnTree(join(folder, "root"));
    this.metadata = new MetadataTree();
    const file = JSON.parse(readFileSync(join(folder, "metadata.json"), "utf8")) as MetadataFile;
    if (file.version !== 1)
      throw new Error(`[layer-version] ${folder}/metadata.json has version ${String(file.version)}, this program reads version 1`);
    for (const path of Object.keys(file.entries)) {
      // A whiteout or an opaque directory may be all that a layer says of a path.
      const { mode = S.IFDIR | 0o755, uid = 0, gid = 0, ...rest } = file.entries[path]! as Partial<MetadataEntry>;
      this.metadata.set(path, { mode, uid, gid, ...rest });
    }
  }
  /** Opens a layer, once for all cVMs of a process while any of them has it. */
  static open(folder: string): Layer {
    const stat = statSync(join(folder, "metadata.json"));
    const key = `${folder}\0${stat.mtimeMs}\0${stat.size}`;
    let layer = open.get(key)?.deref();
    if (layer === undefined) {
      layer = new Layer(folder);
      open.set(key, new WeakRef(layer));
      for (const [other, ref] of open) if (ref.deref() === undefined) open.delete(other);
    }
    return layer;
  }
}
const open: Map<string, WeakRef<Layer>> = new Map();
