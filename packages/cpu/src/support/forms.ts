/** WebAssembly forms by the name of their intrinsic. */
import { csrForms } from "./csr.ts";
import type { FastForm } from "./form.ts";
import { jumpForms } from "./jumps.ts";
import { memoryForms } from "./memory.ts";
import { registerForms } from "./registers.ts";

export const fastForms: Readonly<Record<string, FastForm>> = { ...registerForms, ...memoryForms, ...jumpForms, ...csrForms };
