/* The C library's memcpy, 16 KiB at a time (or BLOCK_BYTES), at places that differ. */
#include "kernel.h"

#ifndef BLOCK_BYTES
#define BLOCK_BYTES 16384
#define COPIES_A_RUN 512
#endif
enum { BLOCK = BLOCK_BYTES, ROOM = 4096, COPIES = COPIES_A_RUN };

static uint8_t from[BLOCK + ROOM] __attribute__((aligned(64))), to[BLOCK + ROOM] __attribute__((aligned(64)));

static void setup(void) {
  uint64_t state = 31;
  for (int at = 0; at < BLOCK + ROOM; at++) from[at] = (uint8_t)next_random(&state);
}

OPAQUE static void copy(void *target, const void *source, size_t size) { memcpy(target, source, size); }

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (uint32_t count = 0; count < COPIES; count++) copy(to + count * 1184 % ROOM, from + count * 2336 % ROOM, BLOCK);
  for (uint32_t at = 0; at < BLOCK + ROOM; at += BLOCK / 256 | 1) sum = sum * 31 + to[at];
  return sum;
}

KERNEL("bytes/s", (double)BLOCK *COPIES)
