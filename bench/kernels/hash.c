/* A hash table with open addressing: numbers are put in, looked for and taken out. 512 KiB. */
#include "kernel.h"

enum { SLOTS = 32768, OPERATIONS = 100000, KEYS = 24000 };

struct slot {
  uint64_t key; /* 0: never used; 1: was used */
  uint64_t value;
};
static struct slot slots[SLOTS];

static inline uint32_t place_of(uint64_t key) { return (uint32_t)((key * UINT64_C(0xD6E8FEB86659FD93)) >> 49); }

static struct slot *find(uint64_t key, struct slot **reusable) {
  struct slot *kept = NULL;
  for (uint32_t at = place_of(key);; at = (at + 1) & (SLOTS - 1)) {
    struct slot *slot = &slots[at];
    if (slot->key == key) return slot;
    if (slot->key == 1 && kept == NULL) kept = slot;
    if (slot->key == 0) {
      *reusable = kept == NULL ? slot : kept;
      return NULL;
    }
  }
}

static void setup(void) {}

OPAQUE static uint64_t run(void) {
  uint64_t state = 3, sum = 0;
  memset(slots, 0, sizeof slots);
  for (uint32_t count = 0; count < OPERATIONS; count++) {
    uint32_t random = next_random(&state);
    uint64_t key = (uint64_t)(random % KEYS) * 2654435761u + 2;
    struct slot *reusable, *slot = find(key, &reusable);
    switch (random >> 30) {
      case 0:
      case 1:
        if (slot == NULL) {
          reusable->key = key;
          reusable->value = count;
        } else slot->value += count;
        break;
      case 2:
        sum += slot == NULL ? 1 : slot->value;
        break;
      default:
        if (slot != NULL) {
          sum = fold(sum, slot->value);
          slot->key = 1;
        }
    }
  }
  return sum;
}

KERNEL("operations/s", OPERATIONS)
