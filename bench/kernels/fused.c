/* Fused products and sums in double precision: polynomials by Horner's rule. */
#include "kernel.h"
#include <math.h>

enum { POINTS = 2000, TERMS = 12 };

static double terms[TERMS], points[POINTS];

static void setup(void) {
  uint64_t state = 77;
  for (int at = 0; at < TERMS; at++) terms[at] = (double)next_random(&state) / 2147483648.0 - 1;
  for (int at = 0; at < POINTS; at++) points[at] = (double)next_random(&state) / 2147483648.0 - 1;
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (int at = 0; at < POINTS; at++) {
    double x = points[at], value = terms[0];
    for (int term = 1; term < TERMS; term++) value = fma(value, x, terms[term]);
    sum = fold_double(sum, value);
  }
  return sum;
}

KERNEL("operations/s", (double)POINTS *(TERMS - 1))
