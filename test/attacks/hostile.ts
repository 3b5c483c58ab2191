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

/** What a hostile program may hold at most. */
export const HYBRID_PERMISSIONS: number = Perm.Load | Perm.Store | Perm.LoadCap | Perm.Global;

/** Makes the image that holds one program per attempt; `hostile NAME` runs as `/hostile/NAME`. */
export async function makeHostileImage(reference: string): Promise<void> {
  await makeScratchImage(
    reference,
    ATTEMPTS.map((attempt) => ({ path: `hostile/${attempt.name}`, mode: 0o755, data: staticElf(attempt.code) })),
    { Env: [], WorkingDir: "/" },
  );
}
