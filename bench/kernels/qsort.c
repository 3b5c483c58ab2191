/* The C library's qsort with a comparator: an indirect call for each comparison. */
#include "kernel.h"

enum { COUNT = 10000 };

struct item {
  int32_t key;
  uint32_t place;
};
static struct item unsorted[COUNT], items[COUNT];

static int compare(const void *left, const void *right) {
  const struct item *a = left, *b = right;
  if (a->key != b->key) return a->key < b->key ? -1 : 1;
  return a->place < b->place ? -1 : a->place > b->place;
}

static void setup(void) {
  uint64_t state = 99;
  for (uint32_t at = 0; at < COUNT; at++) unsorted[at] = (struct item){(int32_t)(next_random(&state) % 4001) - 2000, at};
}

OPAQUE static uint64_t run(void) {
  memcpy(items, unsorted, sizeof items);
  qsort(items, COUNT, sizeof items[0], compare);
  uint64_t sum = 0;
  for (int at = 0; at < COUNT; at++) sum = fold(sum, (uint64_t)items[at].place << 16 ^ (uint64_t)(int64_t)items[at].key);
  return sum;
}

KERNEL("elements/s", COUNT)
