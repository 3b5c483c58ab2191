/** System calls of files, directories, pipes and descriptors. */
import { hostError } from "../files/host.ts";
import type { Syscall } from "../kernel/types.ts";
import { attributeSyscalls } from "./files/attributes.ts";
import { controlSyscalls } from "./files/control.ts";
import { nameSyscalls } from "./files/names.ts";
import { openSyscalls } from "./files/open.ts";
import { transferSyscalls } from "./files/transfer.ts";

const rows: readonly Syscall[] = [...openSyscalls, ...transferSyscalls, ...nameSyscalls, ...attributeSyscalls, ...controlSyscalls];

/** What the host's files refuse on the way (a full disk while the metadata is written) becomes the call's error. */
export const fileSyscalls: readonly Syscall[] = rows.map((row) => ({
  ...row,
  handler(context, args) {
    try {
      return row.handler(context, args);
    } catch (error) {
      if (
        typeof (error as { code?: unknown } | null)?.code !== "string" ||
        !(error instanceof Error) ||
        !("syscall" in error || error.message.startsWith("ENOSPC"))
      )
        throw error;
      return hostError(error);
    }
  },
}));
