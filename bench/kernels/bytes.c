/* A loop over bytes: one load, a choice, one store, and a sum that each byte changes. */
#include "kernel.h"

enum { SIZE = 65536, PASSES = 4 };

static uint8_t from[SIZE], to[SIZE];

static void setup(void) {
  uint64_t state = 5;
  for (int at = 0; at < SIZE; at++) from[at] = (uint8_t)(32 + next_random(&state) % 95);
}

OPAQUE static uint32_t upper(const uint8_t *source, uint8_t *target, size_t size) {
  uint32_t sum = 0;
  for (size_t at = 0; at < size; at++) {
    uint8_t byte = source[at];
    if (byte >= 'a' && byte <= 'z') byte -= 32;
    target[at] = byte;
    sum = (sum << 1 | sum >> 31) ^ byte;
  }
  return sum;
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (int pass = 0; pass < PASSES; pass++) sum = fold(sum, upper(from, to, SIZE));
  return fold(sum, to[SIZE / 3]);
}

KERNEL("bytes/s", (double)SIZE *PASSES)
