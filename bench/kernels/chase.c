/* Pointers followed through nodes in no order: each load waits for the one before. 128 KiB. */
#include "kernel.h"

enum { NODES = 4096, STEPS = 200000 };

struct node {
  struct node *next;
  uint64_t value, unused[2];
};
static struct node nodes[NODES];

static void setup(void) {
  static uint32_t order[NODES];
  uint64_t state = 7;
  for (uint32_t at = 0; at < NODES; at++) order[at] = at;
  /* One cycle through all of them. */
  for (uint32_t at = NODES - 1; at > 0; at--) {
    uint32_t other = next_random(&state) % at, kept = order[at];
    order[at] = order[other];
    order[other] = kept;
  }
  for (uint32_t at = 0; at < NODES; at++) {
    nodes[order[at]].next = &nodes[order[(at + 1) % NODES]];
    nodes[order[at]].value = next_random(&state);
  }
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  const struct node *at = &nodes[0];
  for (int step = 0; step < STEPS; step++) {
    sum += at->value;
    at = at->next;
  }
  return fold(sum, (uint64_t)(at - nodes));
}

KERNEL("steps/s", STEPS)
