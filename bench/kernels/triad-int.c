/* a = b + s * c over arrays of 64-bit integers, 96 KiB together. */
#include "kernel.h"

enum { SIZE = 4096, PASSES = 64 };

static uint64_t a[SIZE], b[SIZE], c[SIZE];

static void setup(void) {
  uint64_t state = 43;
  for (int at = 0; at < SIZE; at++) {
    b[at] = next_random(&state);
    c[at] = next_random(&state);
  }
}

OPAQUE static void triad(uint64_t *to, const uint64_t *left, const uint64_t *right, uint64_t scale, size_t size) {
  for (size_t at = 0; at < size; at++) to[at] = left[at] + scale * right[at];
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (int pass = 0; pass < PASSES; pass++) triad(a, b, c, 3 + (uint64_t)pass, SIZE);
  for (int at = 0; at < SIZE; at += 97) sum = fold(sum, a[at]);
  return sum;
}

/* Bytes that are read and written. */
KERNEL("bytes/s", 24.0 * SIZE *PASSES)
