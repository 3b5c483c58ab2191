import type { Syscall } from "../kernel/types.ts";

export const socketSyscalls: readonly Syscall[] = [];
