/**
 * Pairs of instructions that follow each other often: each gets a handler of its own, which saves a dispatch. As
 * `name/length name/length`. Chosen from what gcc emits in a C library (static counts) and runs in bench/mix.c (dynamic counts).
 * The first one of a pair never transfers control.
 */
const FIRST_THEN: Readonly<Record<string, string>> = {
  "addi/2": "addi/2 addi/4 add/2 ld/2 ld/4 sd/2 sd/4 jal/2 jal/4 jalr/2 beq/4 bne/4 bne/2 bltu/4 bgeu/4 auipc/4 xor/2 mulw/4 lbu/4",
  "addi/4": "addi/2 addi/4 add/2 ld/2 sd/2 sd/4 auipc/4 jal/2 jal/4 beq/4 bne/4 slli/4 bltu/4",
  "add/2": "add/2 addi/2 addi/4 ld/2 ld/4 lw/2 lbu/4 sd/2 sd/4 sw/2 jal/2 jal/4 beq/2 beq/4 bne/4 bltu/4 andi/4 auipc/4",
  "add/4": "ld/2 slli/4 addi/2 lbu/4",
  "ld/2": "ld/2 ld/4 addi/2 addi/4 add/2 addiw/2 sd/2 beq/2 beq/4 bne/2 bne/4 jal/4 andi/4 jalr/2",
  "ld/4": "ld/4 ld/2 addi/2 addi/4 add/2 sd/2 sd/4 xor/2 beq/4 beq/2 bne/4",
  "lw/2": "addi/2 addi/4 lw/2 xor/2 addiw/2 beq/2 bne/2",
  "lw/4": "lw/2 addi/2 lw/4 beq/2 bne/2",
  "lbu/4": "addi/2 lbu/4 andi/4 srliw/4 beq/2 bne/2 beq/4 bne/4",
  "slli/2": "add/2 slli/4 srli/2",
  "slli/4": "add/4 add/2 slli/4 ld/4 xor/2 srli/4",
  "andi/4": "slli/2 xor/2 addiw/2 beq/4 beq/2 bne/2",
  "addiw/2": "add/2 addi/2 bne/4 beq/4",
  "addw/4": "bne/4 addi/2",
  "mulw/4": "addw/4",
  "xor/2": "addi/2 beq/2 bne/2",
  "auipc/4": "addi/4 ld/4 jalr/4",
  "lui/2": "addi/4 addiw/4",
  "sd/2": "sd/2 sd/4 addi/2 addi/4 add/2 ld/2 jal/4 jal/2 auipc/4",
  "sd/4": "sd/4 sd/2 addi/2 add/2 ld/2 jal/2 jal/4",
  "sb/4": "addi/2 sb/4",
  "sw/2": "addi/2 sw/2 jal/2",
};

/** The pairs as [first, second]. */
export const PAIRS: readonly (readonly [first: string, second: string])[] = Object.entries(FIRST_THEN).flatMap(([first, seconds]) =>
  seconds.split(" ").map((second): [string, string] => [first, second]),
);
