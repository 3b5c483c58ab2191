/**
 * The hostile cVM of `npm start` and of the attack tests: programs that hold genuine capabilities (their own DDC and PCC)
 * and try to get more. Each attempt is a program of its own. One that succeeds exits with {@link BREACH}.
 */
import { Perm } from "@cvm/cpu/abi";
import { staticElf } from "../support/elf.ts";
import { makeScratchImage } from "../../packages/cli/src/images/scratch.ts";

/** Exit code of an attempt that got through. */
export const BREACH = 99;
/** Beyond every region (a cVM has 256 MiB unless told otherwise), still inside the host's address space. */
const OUTSIDE = 0x4000_0000;

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Attempt {
  readonly name: string;
  readonly title: string;
  readonly code: string;
  /** Whether the attempt was stopped or refused as it must be. */
  readonly held: (outcome: Outcome) => boolean;
  /** One line for the table. */
  readonly summary: (outcome: Outcome) => string;
}

const EFAULT = 14;
const SIGSEGV_EXIT = 139;

function fault(name: string, title: string, check: string, code: string): Attempt {
  return {
    name,
    title,
    code,
    held: ({ status, stderr }) => status === SIGSEGV_EXIT && stderr.includes(`capability fault: ${check} of`),
    summary: ({ status, stderr }) => {
      const report = /capability fault: (.*)/u.exec(stderr)?.[1] ?? stderr.split("\n")[0] ?? "";
      return `stopped, exit ${status}: ${report.trim()}`;
    },
  };
}

function refused(name: string, title: string, code: string): Attempt {
  return {
    name,
    title,
    code,
    held: ({ status, stdout }) => status === EFAULT && stdout === "",
    summary: ({ status }) => (status === EFAULT ? "refused: EFAULT" : `exit ${status}`),
  };
}

/** The host is not worn out: the program ends as any other does, with a right result. */
function lives(name: string, title: string, code: string): Attempt {
  return {
    name,
    title,
    code,
    held: ({ status, stderr }) => status === 0 && stderr === "",
    summary: ({ status }) => (status === 0 ? "went on, results right" : `exit ${status}`),
  };
}

/** Ends with the exit code in a0. */
const EXIT = "li a7, 94\necall\n";
const BREACHED = `li a0, ${BREACH}\n${EXIT}`;
/** If a0 is not 0 the capability kept its tag: a breach. */
const MUST_BE_UNTAGGED = `beqz a0, fine\n${BREACHED}fine:\n`;
const READ_DDC = "cspecialrw ct0, 1, c0\n";
const READ_PCC = "cspecialrw ct1, 0, c0\n";

export const ATTEMPTS: readonly Attempt[] = [
  fault("load", "load outside", "bounds", `li t0, ${OUTSIDE}\nld a0, 0(t0)\n${BREACHED}`),
  fault("load-wrapped", "load at an address that wraps around", "bounds", `li t0, -64\nld a0, 0(t0)\n${BREACHED}`),
  fault("store", "store outside", "bounds", `li t0, ${OUTSIDE}\nsd zero, 0(t0)\n${BREACHED}`),
  fault("atomic", "atomic swap outside", "bounds", `li t0, ${OUTSIDE}\namoswap.d a0, zero, (t0)\n${BREACHED}`),
  fault("jump", "jump outside", "bounds", `li t0, ${OUTSIDE}\njr t0\n${BREACHED}`),
  fault(
    "widen",
    "widen its own data capability",
    "tag",
    `${READ_DDC}li t1, ${OUTSIDE}\ncsetbounds ct2, ct0, t1\ncgettag a0, ct2\n${MUST_BE_UNTAGGED}ld.cap a0, (ct2)\n${BREACHED}`,
  ),
  fault(
    "forge",
    "forge a capability from its bits",
    "tag",
    `${READ_DDC}cgethigh t1, ct0\ncsethigh ct2, c0, t1\nli t3, ${OUTSIDE}\ncsetaddr ct2, ct2, t3\ncgettag a0, ct2\n${MUST_BE_UNTAGGED}ld.cap a0, (ct2)\n${BREACHED}`,
  ),
  fault(
    "rebuild",
    "rebuild a wider capability with its own as authority",
    "tag",
    `${READ_DDC}li t1, -1\ncsethigh ct2, c0, t1\ncbuildcap ct3, ct0, ct2\ncgettag a0, ct3\n${MUST_BE_UNTAGGED}ld.cap a0, (ct3)\n${BREACHED}`,
  ),
  fault("permissions", "execute its data capability", "execute permission", `${READ_DDC}jalr.cap c0, ct0\n${BREACHED}`),
  fault(
    "unseal",
    "unseal a sealed capability",
    "tag",
    `${READ_DDC}${READ_PCC}csealentry ct1, ct1\ncunseal ct2, ct1, ct0\ncgettag a0, ct2\n${MUST_BE_UNTAGGED}ld.cap a0, (ct2)\n${BREACHED}`,
  ),
  fault("sealed-load", "load through a sealed capability", "seal", `${READ_PCC}csealentry ct1, ct1\nld.cap a0, (ct1)\n${BREACHED}`),
  fault(
    "sealed-move",
    "move a sealed capability",
    "tag",
    `${READ_PCC}csealentry ct1, ct1\nli t2, 16\ncincoffset ct2, ct1, t2\ncgettag a0, ct2\n${MUST_BE_UNTAGGED}jalr.cap c0, ct2\n${BREACHED}`,
  ),
  fault("invoke", "invoke capabilities that are not sealed", "seal", `${READ_DDC}${READ_PCC}cinvoke ct1, ct0\n${BREACHED}`),
  fault(
    "seal",
    "seal with a type that it does not own",
    "tag",
    `${READ_DDC}${READ_PCC}cseal ct2, ct1, ct0\ncgettag a0, ct2\n${MUST_BE_UNTAGGED}jalr.cap c0, ct2\n${BREACHED}`,
  ),
  fault(
    "hoard",
    "store a capability in memory",
    "store-capability permission",
    `${READ_DDC}addi t1, sp, -64\nandi t1, t1, -16\nsc ct0, 0(t1)\n${BREACHED}`,
  ),
  fault("system-register", "read a special register", "access to system registers", `cspecialrw ct0, 31, c0\n${BREACHED}`),
  refused(
    "pointer-read",
    "pointer outside given to write",
    `li a0, 1\nli a1, ${OUTSIDE}\nli a2, 64\nli a7, 64\necall\nneg a0, a0\n${EXIT}`,
  ),
  refused("pointer-write", "pointer outside given to clock_gettime", `li a0, 1\nli a1, ${OUTSIDE}\nli a7, 113\necall\nneg a0, a0\n${EXIT}`),
  refused(
    "pointer-straddle",
    "buffer that ends outside given to write",
    `li a0, 1\nmv a1, sp\nli a2, 0x20000000\nli a7, 64\necall\nneg a0, a0\n${EXIT}`,
  ),
  refused(
    "pointer-wrapped",
    "buffer that wraps around given to write",
    `li a0, 1\nli a1, -8\nli a2, 64\nli a7, 64\necall\nneg a0, a0\n${EXIT}`,
  ),
];

/** More than what makes code hot, so that it is translated. */
const HOT = 3000;
/** Maps 1 MiB that may be read, written and executed; s1: where. */
const MAP_CODE = "li a0, 0\nli a1, 0x100000\nli a2, 7\nli a3, 0x22\nli a4, -1\nli a5, 0\nli a7, 222\necall\nmv s1, a0\n";
/**
 * Writes s0 functions, each of which adds two numbers to s3, and calls each as often as makes it hot; s2: bytes from one to the next. s4 has the
 * sum that must come out.
 */
const generate = (functions: number, distance: number, calls: number): string => `${MAP_CODE}
  li s0, ${functions}
  li s2, ${distance}
  li s3, 0
  li s4, 0
  next: andi t0, s0, 1023
  slli t1, t0, 20
  li t2, 0x00098993
  or t1, t1, t2
  sw t1, 0(s1)
  sw t1, 4(s1)
  li t2, 0x00008067
  sw t2, 8(s1)
  fence.i
  li s5, ${calls}
  again: jalr s1
  add s4, s4, t0
  add s4, s4, t0
  addi s5, s5, -1
  bnez s5, again
  add s1, s1, s2
  addi s0, s0, -1
  bnez s0, next
  li a0, 0
  beq s3, s4, right
  li a0, ${BREACH}
  right: ${EXIT}`;

/** Attempts from loops that are hot, so that translated code makes them. They take longer. */
export const HOT_ATTEMPTS: readonly Attempt[] = [
  fault(
    "hot-jump",
    "jump outside from a hot loop",
    "bounds",
    `li s0, ${HOT}\nla s1, f\nli s2, ${OUTSIDE}\nnext: addi s0, s0, -1\nseqz t0, s0\nneg t0, t0\nand t1, t0, s2\nnot t0, t0\nand t0, t0, s1\nor t0, t0, t1\njalr t0\nbgez s0, next\n${BREACHED}f: ret\n`,
  ),
  fault(
    "hot-return",
    "return to an address before its code from a hot loop",
    "bounds",
    `li s0, ${HOT}\nnext: jal ra, f\naddi s0, s0, -1\nj next\nf: bnez s0, fine\nli ra, -4\nfine: ret\n`,
  ),
  // The end of the region is DDC's length; the pointer is where it may be until the last round.
  ...(
    [
      ["hot-store", "store over the end from a hot loop", "sd s0, 8(s1)\nsd s0, 0(s1)", 12],
      ["hot-store-below", "store below the start from a hot loop", "sd s0, -8(s1)\nsd s0, -16(s1)", undefined],
      ["hot-load", "load over the end from a hot loop", "lw a1, 0(s1)\nld a2, 4(s1)", 2],
    ] as const
  ).map(([name, title, accesses, before]) =>
    fault(
      name,
      title,
      "bounds",
      `${READ_DDC}cgetlen s2, ct0\naddi s2, s2, -${before ?? 0}\n${before === undefined ? "li s2, 4\n" : ""}addi s3, sp, -256\nli s0, ${HOT}\nli t0, 0\nmv s1, s3\nnext: ${accesses}\naddi s0, s0, -1\nbnez s0, on\nmv s1, s2\non: bgez s0, next\n${BREACHED}`,
    ),
  ),
  lives("generate", "generate code at new places without end", generate(8000, 64, 60)),
  lives("rewrite", "rewrite hot code again and again", generate(3000, 0, 250)),
];

/** What a hostile program may hold at most. */
export const HYBRID_PERMISSIONS: number = Perm.Load | Perm.Store | Perm.LoadCap | Perm.Global;

/** Makes the image that holds one program per attempt; `hostile NAME` runs as `/hostile/NAME`. */
export async function makeHostileImage(reference: string): Promise<void> {
  await makeScratchImage(
    reference,
    [...ATTEMPTS, ...HOT_ATTEMPTS].map((attempt) => ({ path: `hostile/${attempt.name}`, mode: 0o755, data: staticElf(attempt.code) })),
    { Env: [], WorkingDir: "/" },
  );
}
