/** From a path to what must be loaded: scripts (`#!`), the program, its interpreter. */
import { decodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import type { CallContext, VfsFile } from "../kernel/types.ts";
import { ExecError } from "./exec-error.ts";
import { isElf, parseElf, type Elf } from "./parse.ts";

/** Most `#!` lines in a row (BINPRM recursion of Linux). */
const MOST_SCRIPTS = 4;
/** Longest `#!` line (BINPRM_BUF_SIZE). */
const SCRIPT_LINE = 256;

export interface Program {
  readonly file: VfsFile;
  readonly elf: Elf;
  readonly interpreter: { readonly file: VfsFile; readonly elf: Elf } | null;
  readonly argv: readonly string[];
  /** The path as it was given (AT_EXECFN). */
  readonly name: string;
  /** The absolute path of the file (/proc/PID/exe). */
  readonly path: string;
}

/**
 * Opens and checks a program and what it needs, before anything of the caller changes.
 * @throws ExecError
 */
export function openProgram(context: CallContext, path: string, directory: string, argv: readonly string[]): Program {
  const { vfs } = context.kernel;
  let name = path;
  let args = argv;
  for (let depth = 0; ; depth++) {
    const opened = vfs.executable(name, directory, context);
    if (typeof opened === "number") throw notExecutable(opened, name, depth > 0 ? `interpreter of ${path}` : "");
    const { file } = opened;
    const start = file.pread(0, SCRIPT_LINE);
    if (start[0] === 0x23 && start[1] === 0x21) {
      if (depth >= MOST_SCRIPTS) throw new ExecError("too-many-scripts", `${path}: more than ${MOST_SCRIPTS} scripts in a row`);
      const line = scriptLine(start, name);
      args = [line.interpreter, ...(line.argument === "" ? [] : [line.argument]), name, ...args.slice(1)];
      name = line.interpreter;
      continue;
    }
    if (!isElf(start)) throw new ExecError(start.length < 4 ? "truncated" : "not-elf", `${name}: is neither an ELF file nor a script`);
    const elf = parseElf(file, name);
    return {
      file,
      elf,
      interpreter: elf.interpreter === null ? null : openInterpreter(context, elf.interpreter, name),
      argv: args,
      name: path,
      path: opened.path,
    };
  }
}

function openInterpreter(context: CallContext, path: string, of: string): { file: VfsFile; elf: Elf } {
  const opened = context.kernel.vfs.executable(path, "/", context);
  if (opened === -E.NOENT || opened === -E.NOTDIR)
    throw new ExecError("interpreter-not-found", `${of}: needs ${path}, which does not exist`);
  if (typeof opened === "number") throw notExecutable(opened, path, `interpreter of ${of}`);
  return { file: opened.file, elf: parseElf(opened.file, path) };
}

function notExecutable(errno: number, path: string, role: string): ExecError {
  const what = role === "" ? path : `${path} (${role})`;
  if (errno === -E.NOENT || errno === -E.NOTDIR) return new ExecError("not-found", `${what}: no such file`, -errno);
  if (errno === -E.ACCES || errno === -E.PERM) return new ExecError("no-permission", `${what}: permission denied`, -errno);
  if (errno === -E.LOOP) return new ExecError("not-found", `${what}: too many symbolic links`, E.LOOP);
  return new ExecError("unreadable", `${what}: error ${-errno}`, -errno);
}

/** The line after `#!`: one interpreter and the rest as one argument. */
function scriptLine(bytes: Uint8Array, path: string): { interpreter: string; argument: string } {
  const newline = bytes.indexOf(10);
  const end = newline < 0 ? bytes.length : newline;
  if (newline < 0 && bytes.length === SCRIPT_LINE && !/^#![ \t]*[^ \t]+[ \t]/.test(Buffer.from(bytes).toString("latin1"))) {
    throw new ExecError("not-elf", `${path}: the first line is too long`);
  }
  const [, interpreter, argument] = /^[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*$/.exec(decodeText(bytes.subarray(2, end))) ?? [];
  if (interpreter === undefined) throw new ExecError("not-elf", `${path}: the first line names no interpreter`);
  return { interpreter, argument: argument ?? "" };
}
