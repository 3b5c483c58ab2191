/** System calls of files, directories, pipes and descriptors. */
import type { Syscall } from "../kernel/types.ts";
import { attributeSyscalls } from "./files/attributes.ts";
import { controlSyscalls } from "./files/control.ts";
import { nameSyscalls } from "./files/names.ts";
import { openSyscalls } from "./files/open.ts";
import { transferSyscalls } from "./files/transfer.ts";

export const fileSyscalls: readonly Syscall[] = [...openSyscalls, ...transferSyscalls, ...nameSyscalls, ...attributeSyscalls, ...controlSyscalls];
