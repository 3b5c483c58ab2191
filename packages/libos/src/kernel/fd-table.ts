import { E } from "./errno.ts";
import type { FdTable, OpenFile } from "./types.ts";

/** File descriptors of a process, shared by its threads (and by clone with CLONE_FILES). */
export class DescriptorTable implements FdTable {
  /** RLIMIT_NOFILE. */
  limit: number;
  /** Processes that use the table. */
  users = 1;
  #files: (OpenFile | undefined)[] = [];
  #closing: boolean[] = [];
  /** No number below is free. */
  #lowest = 0;

  constructor(limit: number) {
    this.limit = limit;
  }
  get(fd: number): OpenFile | undefined {
    return this.#files[fd];
  }
  add(file: OpenFile, closeOnExec: boolean, from = 0): number {
    let fd = Math.max(from, this.#lowest);
    while (this.#files[fd] !== undefined) fd++;
    if (from <= this.#lowest) this.#lowest = fd;
    if (fd >= this.limit) return -E.MFILE;
    this.#put(fd, file, closeOnExec);
    return fd;
  }
  set(fd: number, file: OpenFile, closeOnExec: boolean): void {
    const old = this.#files[fd];
    this.#put(fd, file, closeOnExec);
    if (old !== undefined) release(old);
  }
  #put(fd: number, file: OpenFile, closeOnExec: boolean): void {
    while (this.#files.length < fd) {
      this.#files.push(undefined);
      this.#closing.push(false);
    }
    this.#files[fd] = file;
    this.#closing[fd] = closeOnExec;
  }
  closeOnExec(fd: number): boolean {
    return this.#closing[fd] === true;
  }
  setCloseOnExec(fd: number, value: boolean): void {
    if (this.#files[fd] !== undefined) this.#closing[fd] = value;
  }
  close(fd: number): number {
    const file = this.#files[fd];
    if (file === undefined) return -E.BADF;
    this.#files[fd] = undefined;
    if (fd < this.#lowest) this.#lowest = fd;
    release(file);
    return 0;
  }
  list(): number[] {
    const numbers: number[] = [];
    for (let fd = 0; fd < this.#files.length; fd++) if (this.#files[fd] !== undefined) numbers.push(fd);
    return numbers;
  }
  /** The table of a forked child: the same open files. */
  copy(): DescriptorTable {
    const table = new DescriptorTable(this.limit);
    for (let fd = 0; fd < this.#files.length; fd++) {
      const file = this.#files[fd];
      if (file === undefined) continue;
      file.references++;
      table.#put(fd, file, this.#closing[fd] === true);
    }
    return table;
  }
  /** execve: closes what is marked. */
  exec(): void {
    for (let fd = 0; fd < this.#files.length; fd++) if (this.#closing[fd] === true && this.#files[fd] !== undefined) this.close(fd);
  }
  /** One user less; the last one closes all. */
  leave(): void {
    if (--this.users > 0) return;
    for (const fd of this.list()) this.close(fd);
  }
}

function release(file: OpenFile): void {
  if (--file.references === 0) file.close();
}
