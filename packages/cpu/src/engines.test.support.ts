/** The engines that every test of the instruction set runs on. */
import type { EngineName } from "./abi.ts";

export const ENGINES: readonly EngineName[] = ["interpreter", "eager"];
