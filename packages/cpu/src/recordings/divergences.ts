/**
 * Where the recordings of test-data/ and this machine differ, one by one: what they say, what we say, and why. Each was decided by the
 * formal model of CHERI-RISC-V (for ISAv8, by the model as it was before it cleared tags), which this machine follows.
 *
 * A replay goes on from our own state after a difference, so what differs then because of it is listed too, with the reason `follows`.
 */
import type { FieldName } from "./compare.ts";
import type { Divergence, ReplayMode } from "./replay.ts";

export type Reason =
  | "cinvoke-bit-0"
  | "unaligned-tcc"
  | "pc-of-refused-fetch"
  | "amo-load-cause"
  | "wrapping-access"
  | "ccseal-untagged"
  | "cbuildcap-unchecked"
  | "csealentry-execute"
  | "follows";

/** Why something differs. */
export const REASONS: Readonly<Record<Reason, string>> = {
  "cinvoke-bit-0": "the recording keeps bit 0 of a code capability's address in pc; the model clears it, as every indirect jump does",
  "unaligned-tcc": "the recording writes a trap vector whose base is not aligned to 4; with relocation the model ignores that write",
  "pc-of-refused-fetch": "the recording has the architectural pc instead of the address when nothing could be fetched",
  "amo-load-cause": "the recording reports the load's cause for an access fault of an atomic; the specification demands the store's",
  "wrapping-access":
    "an access that reaches over 2^64: the recording allows it and faults at address 0; in the model it is beyond the bounds of DDC (0x421: DDC, length)",
  "ccseal-untagged": "ISAv8: CCSeal of an untagged capability raises the tag exception in the model; the recording copies it",
  "cbuildcap-unchecked":
    "ISAv8: CBuildCap raises an exception in the model when its result would not equal the untagged operand; the recording clears the tag",
  "csealentry-execute": "ISAv8: CSealEntry needs execute permission in the model; the recording does not ask for it",
  follows: "the machines are in different states since an earlier difference of the sequence",
};

const ALL: readonly ReplayMode[] = ["v9r", "v9", "v8"];
const RELOCATED: readonly ReplayMode[] = ["v9r", "v8"];
const V8: readonly ReplayMode[] = ["v8"];

type Row = readonly [
  modes: readonly ReplayMode[],
  sequence: string,
  step: number,
  field: FieldName,
  theirs: string,
  ours: string,
  reason: Reason,
];

const ROWS: readonly Row[] = [
  [ALL, "Flute/flutevssailexceptions3/failure99999494758.S", 6, "pcAfter", "1", "0", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999595611.S", 5, "pcAfter", "fffffffffffffb95", "fffffffffffffb94", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999631723.S", 6, "pcAfter", "1", "0", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999694628.S", 5, "pcAfter", "fffffffffffff81d", "fffffffffffff81c", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999721266.S", 5, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999777187.S", 5, "pcAfter", "fffffffffffffb09", "fffffffffffffb08", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999845675.S", 7, "pcAfter", "1", "0", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999885009.S", 6, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999907179.S", 5, "pcAfter", "4bd", "4bc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999917729.S", 5, "pcAfter", "fffffffffffff9a5", "fffffffffffff9a4", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailexceptions3/failure99999976366.S", 8, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999418080.S", 5, "pcAfter", "fffffffffffffcd5", "fffffffffffffcd4", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999510448.S", 5, "pcAfter", "70d", "70c", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999565515.S", 7, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999642583.S", 5, "pcAfter", "60d", "60c", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999776805.S", 5, "pcAfter", "fffffffffffffc45", "fffffffffffffc44", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999866725.S", 5, "pcAfter", "439", "438", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999935759.S", 5, "pcAfter", "221", "220", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnew3/failure999999949591.S", 6, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999527238.S", 5, "pcAfter", "5bd", "5bc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999591218.S", 8, "pcAfter", "1", "0", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999631526.S", 5, "pcAfter", "7f5", "7f4", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999739300.S", 5, "pcAfter", "355", "354", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999761183.S", 9, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999865566.S", 5, "pcAfter", "471", "470", "cinvoke-bit-0"],
  [ALL, "Flute/flutevssailnewpcc/failure9999909133.S", 6, "pcAfter", "fffffffffffffffd", "fffffffffffffffc", "cinvoke-bit-0"],
  [ALL, "Sail/AMO-trap-cause.S", 1, "rdValue", "5", "7", "amo-load-cause"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:19:29.767743526_UTC.S", 2, "rdValue", "0", "421", "wrapping-access"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:19:29.767743526_UTC.S", 3, "rdValue", "7", "1c", "wrapping-access"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:19:29.767743526_UTC.S", 4, "rdValue", "0", "421", "wrapping-access"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:24:50.121289406_UTC.S", 2, "rdValue", "0", "421", "wrapping-access"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:24:50.121289406_UTC.S", 3, "rdValue", "7", "1c", "wrapping-access"],
  [ALL, "Toooba/failures-flute/failure-2020-06-19_20:24:50.121289406_UTC.S", 4, "rdValue", "0", "421", "wrapping-access"],
  [ALL, "Toooba/unspecified/mtval/failure-2020-06-18_17:48:58.63157749_UTC.S", 2, "rdValue", "0", "421", "wrapping-access"],
  [ALL, "Toooba/unspecified/mtval/failure-2020-06-18_17:48:58.63157749_UTC.S", 3, "rdValue", "7", "1c", "wrapping-access"],
  [RELOCATED, "Flute/flutevssailnew3/failure999999901611.S", 3, "rdValue", "6e5", "0", "unaligned-tcc"],
  [RELOCATED, "Flute/flutevssailnewpcc/failure9999286778.S", 10, "address", "0", "80000000", "pc-of-refused-fetch"],
  [V8, "Flute/rm_me.S", 80, "trap", "0", "1", "ccseal-untagged"],
  [V8, "Flute/rm_me.S", 80, "pcAfter", "8", "0", "ccseal-untagged"],
  [V8, "Flute/rm_me.S", 80, "rd", "5", "0", "ccseal-untagged"],
  [V8, "Flute/rm_me.S", 80, "rdValue", "fffffffffffffffd", "0", "ccseal-untagged"],
  [V8, "Flute/rm_me.S", 81, "address", "8", "0", "follows"],
  [V8, "Flute/rm_me.S", 81, "pcAfter", "c", "4", "follows"],
  [V8, "Flute/rm_me.S", 82, "address", "c", "4", "follows"],
  [V8, "Flute/rm_me.S", 82, "pcAfter", "10", "8", "follows"],
  [V8, "Flute/rm_me.S", 83, "address", "10", "8", "follows"],
  [V8, "Flute/rm_me.S", 83, "pcAfter", "14", "c", "follows"],
  [V8, "Flute/rm_me.S", 84, "address", "14", "c", "follows"],
  [V8, "Flute/rm_me.S", 84, "pcAfter", "18", "10", "follows"],
  [V8, "Flute/rm_me.S", 85, "address", "18", "10", "follows"],
  [V8, "Flute/rm_me.S", 85, "pcAfter", "1c", "14", "follows"],
  [V8, "Flute/rm_me.S", 86, "address", "1c", "14", "follows"],
  [V8, "Flute/rm_me.S", 86, "pcAfter", "20", "18", "follows"],
  [V8, "Flute/rm_me.S", 87, "address", "20", "18", "follows"],
  [V8, "Flute/rm_me.S", 87, "pcAfter", "24", "1c", "follows"],
  [V8, "Flute/rm_me.S", 88, "address", "24", "1c", "follows"],
  [V8, "Ibex/werd.S", 25, "trap", "0", "1", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 25, "pcAfter", "c", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 26, "address", "c", "0", "follows"],
  [V8, "Ibex/werd.S", 26, "pcAfter", "10", "4", "follows"],
  [V8, "Ibex/werd.S", 27, "address", "10", "4", "follows"],
  [V8, "Ibex/werd.S", 27, "pcAfter", "14", "8", "follows"],
  [V8, "Ibex/werd.S", 28, "address", "14", "8", "follows"],
  [V8, "Ibex/werd.S", 28, "pcAfter", "18", "c", "follows"],
  [V8, "Ibex/werd.S", 29, "address", "18", "c", "follows"],
  [V8, "Ibex/werd.S", 29, "pcAfter", "1c", "10", "follows"],
  [V8, "Ibex/werd.S", 30, "address", "1c", "10", "follows"],
  [V8, "Ibex/werd.S", 30, "pcAfter", "20", "14", "follows"],
  [V8, "Ibex/werd.S", 31, "address", "20", "14", "follows"],
  [V8, "Ibex/werd.S", 38, "trap", "0", "1", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 38, "pcAfter", "ce", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 38, "rd", "1", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 39, "address", "ce", "0", "follows"],
  [V8, "Ibex/werd.S", 39, "pcAfter", "d2", "4", "follows"],
  [V8, "Ibex/werd.S", 40, "address", "d2", "4", "follows"],
  [V8, "Ibex/werd.S", 40, "pcAfter", "d6", "8", "follows"],
  [V8, "Ibex/werd.S", 41, "address", "d6", "8", "follows"],
  [V8, "Ibex/werd.S", 61, "trap", "0", "1", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 61, "pcAfter", "4", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 61, "rd", "1c", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 61, "rdValue", "1", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 62, "address", "4", "0", "follows"],
  [V8, "Ibex/werd.S", 67, "trap", "0", "1", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 67, "pcAfter", "4", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 67, "rd", "1f", "0", "ccseal-untagged"],
  [V8, "Ibex/werd.S", 67, "rdValue", "1", "0", "ccseal-untagged"],
  [V8, "QEMU/cbuildcap-incorrect-tag.S", 5, "trap", "0", "1", "cbuildcap-unchecked"],
  [V8, "QEMU/cbuildcap-incorrect-tag.S", 5, "pcAfter", "80000018", "0", "cbuildcap-unchecked"],
  [V8, "QEMU/cbuildcap-incorrect-tag.S", 5, "rd", "2", "0", "cbuildcap-unchecked"],
  [V8, "QEMU/cbuildcap-incorrect-tag.S", 6, "address", "80000018", "0", "follows"],
  [V8, "QEMU/cbuildcap-incorrect-tag.S", 6, "pcAfter", "8000001c", "4", "follows"],
  [V8, "QEMU/ccseal-gettype-mismatch.S", 2, "trap", "0", "1", "ccseal-untagged"],
  [V8, "QEMU/ccseal-gettype-mismatch.S", 2, "pcAfter", "8000000c", "0", "ccseal-untagged"],
  [V8, "QEMU/ccseal-gettype-mismatch.S", 2, "rd", "1", "0", "ccseal-untagged"],
  [V8, "QEMU/ccseal-gettype-mismatch.S", 3, "address", "8000000c", "0", "follows"],
  [V8, "QEMU/ccseal-gettype-mismatch.S", 3, "pcAfter", "80000010", "4", "follows"],
  [V8, "QEMU/csealentry-execute-perm.S", 1, "trap", "0", "1", "csealentry-execute"],
  [V8, "QEMU/csealentry-execute-perm.S", 1, "pcAfter", "80000008", "0", "csealentry-execute"],
  [V8, "QEMU/csealentry-execute-perm.S", 1, "rd", "4", "0", "csealentry-execute"],
  [V8, "QEMU/csealentry-execute-perm.S", 2, "address", "80000008", "0", "follows"],
  [V8, "QEMU/csealentry-execute-perm.S", 2, "pcAfter", "8000000c", "4", "follows"],
  [V8, "QEMU/csealentry-execute-perm.S", 2, "rdValue", "fffffffffffffffe", "ffffffffffffffff", "follows"],
  [V8, "QEMU/csealentry-execute-perm.S", 3, "address", "8000000c", "4", "follows"],
  [V8, "QEMU/csealentry-execute-perm.S", 3, "pcAfter", "80000010", "8", "follows"],
];

/** All of them. Numbers are hexadecimal. */
export const DIVERGENCES: readonly Divergence[] = ROWS.map(([modes, sequence, step, field, theirs, ours, reason]) => ({
  modes,
  sequence,
  step,
  field,
  theirs,
  ours,
  reason,
}));
