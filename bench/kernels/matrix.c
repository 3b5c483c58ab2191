/* Products of matrices in double precision, row by row. The accrued exception flags count in the checksum. */
#include "flags.h"
#include "kernel.h"

enum { SIZE = 72 };

static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void setup(void) {
  uint64_t state = 21;
  for (int row = 0; row < SIZE; row++) {
    for (int column = 0; column < SIZE; column++) {
      a[row][column] = (double)next_random(&state) / 4294967296.0 - 0.5;
      b[row][column] = (double)next_random(&state) / 4294967296.0 - 0.5;
    }
  }
}

OPAQUE static void multiply(int size) {
  for (int row = 0; row < size; row++) {
    for (int column = 0; column < size; column++) {
      double sum = 0;
      for (int at = 0; at < size; at++) sum += a[row][at] * b[at][column];
      c[row][column] = sum;
    }
  }
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  clear_flags();
  multiply(SIZE);
  sum = fold(sum, accrued_flags());
  for (int row = 0; row < SIZE; row++) sum = fold_double(sum, c[row][(row * 7) % SIZE]);
  return sum;
}

KERNEL("flop/s", 2.0 * SIZE * SIZE * SIZE)
