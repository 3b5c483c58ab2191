/** Capability arithmetic: CHERI Concentrate, 128 bits. */
export {
  allows, andPerms, buildCap, clearTag, conditionalSeal, copyType, derive, equal, format, fromMemory, fromRaw, incOffset, isSealed, isUsableOtype,
  nullCapability, representableAlignment, representableLength, representableMask, root, seal, sealEntry, setAddress, setBounds,
  setBoundsExact, setFlag, setOffset, testSubset, toMemory, toRaw, unseal,
} from "./operations.ts";
export type { Raw } from "./raw.ts";
