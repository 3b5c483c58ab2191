/* a = b + s * c over arrays of doubles, 96 KiB together (or three times LENGTH). */
#include "kernel.h"

#ifndef LENGTH
#define LENGTH 4096
#define PASSES_A_RUN 64
#endif
enum { SIZE = LENGTH, PASSES = PASSES_A_RUN };

static double a[SIZE], b[SIZE], c[SIZE];

static void setup(void) {
  uint64_t state = 41;
  for (int at = 0; at < SIZE; at++) {
    b[at] = (double)next_random(&state) / 65536.0;
    c[at] = (double)next_random(&state) / 65536.0;
  }
}

OPAQUE static void triad(double *to, const double *left, const double *right, double scale, size_t size) {
  for (size_t at = 0; at < size; at++) to[at] = left[at] + scale * right[at];
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (int pass = 0; pass < PASSES; pass++) triad(a, b, c, 3.0 + pass, SIZE);
  for (int at = 0; at < SIZE; at += SIZE / 42) sum = fold_double(sum, a[at]);
  return sum;
}

/* Bytes that are read and written. */
KERNEL("bytes/s", 24.0 * SIZE *PASSES)
