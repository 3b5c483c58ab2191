/*
 * What small embedded programs do, in turn: a list is searched, sorted and reversed, small matrices of integers are multiplied, a state machine
 * reads numbers out of text; a cyclic redundancy check runs over all results. About 6 KiB of data.
 */
#include "kernel.h"

enum { ITEMS = 100, SIZE = 9, TEXT = 600, ITERATIONS = 10 };

struct item {
  struct item *next;
  int16_t key, place;
};
static struct item pool[ITEMS];
static int16_t left[SIZE][SIZE], right[SIZE][SIZE];
static int32_t product[SIZE][SIZE];
static char text[TEXT + 1];

static uint16_t crc8(uint16_t crc, uint8_t byte) {
  for (int bit = 0; bit < 8; bit++) {
    int carry = (byte ^ crc) & 1;
    byte >>= 1;
    crc >>= 1;
    if (carry) crc ^= 0xA001;
  }
  return crc;
}
static uint16_t crc32(uint16_t crc, uint32_t word) {
  for (int shift = 0; shift < 32; shift += 8) crc = crc8(crc, (uint8_t)(word >> shift));
  return crc;
}

/* ---- the list */
typedef int (*order)(const struct item *, const struct item *);
static int by_key(const struct item *a, const struct item *b) { return a->key - b->key; }
static int by_place(const struct item *a, const struct item *b) { return a->place - b->place; }

static struct item *merge(struct item *a, struct item *b, order before) {
  struct item head, *last = &head;
  while (a != NULL && b != NULL) {
    struct item **smaller = before(a, b) <= 0 ? &a : &b;
    last = last->next = *smaller;
    *smaller = (*smaller)->next;
  }
  last->next = a != NULL ? a : b;
  return head.next;
}
/* Bottom up: lists of 1, 2, 4 … items wait in `parts`. */
static struct item *sort(struct item *list, order before) {
  struct item *parts[10] = {0};
  while (list != NULL) {
    struct item *one = list;
    list = list->next;
    one->next = NULL;
    int level = 0;
    for (; parts[level] != NULL; level++) {
      one = merge(parts[level], one, before);
      parts[level] = NULL;
    }
    parts[level] = one;
  }
  for (int level = 0; level < 10; level++) {
    if (parts[level] != NULL) list = list == NULL ? parts[level] : merge(parts[level], list, before);
  }
  return list;
}
static struct item *reverse(struct item *list) {
  struct item *done = NULL;
  while (list != NULL) {
    struct item *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}
OPAQUE static uint16_t lists(uint16_t crc, int seed) {
  for (int at = 0; at < ITEMS; at++) pool[at].next = at + 1 < ITEMS ? &pool[at + 1] : NULL;
  struct item *list = &pool[0];
  uint32_t found = 0;
  for (int search = 0; search < 12; search++) {
    int wanted = pool[(search * 29 + seed) % ITEMS].key + (search & 1);
    struct item *at = list;
    while (at != NULL && at->key != wanted) at = at->next;
    if (at != NULL) found += (uint32_t)at->place;
    list = reverse(list);
  }
  list = sort(list, by_key);
  for (struct item *at = list; at != NULL && at->next != NULL; at = at->next->next) crc = crc8(crc, (uint8_t)at->key);
  list = sort(list, by_place);
  return crc32(crc, found + (uint32_t)list->key);
}

/* ---- matrices */
OPAQUE static uint16_t matrices(uint16_t crc, int seed) {
  int32_t sum = 0, before = 0;
  for (int row = 0; row < SIZE; row++) {
    for (int column = 0; column < SIZE; column++) left[row][column] = (int16_t)(left[row][column] + seed);
  }
  for (int row = 0; row < SIZE; row++) {
    for (int column = 0; column < SIZE; column++) {
      int32_t cell = 0;
      for (int at = 0; at < SIZE; at++) cell += (int32_t)left[row][at] * right[at][column];
      product[row][column] = cell;
      sum += cell > before ? 10 : (cell >> 3) & 0x7F;
      before = cell;
    }
  }
  for (int row = 0; row < SIZE; row++) {
    int32_t across = 0;
    for (int column = 0; column < SIZE; column++) across += ((product[row][column] >> 2) & 15) * ((product[column][row] >> 5) & 127);
    sum ^= across;
  }
  for (int row = 0; row < SIZE; row++) {
    for (int column = 0; column < SIZE; column++) left[row][column] = (int16_t)(left[row][column] - seed);
  }
  return crc32(crc, (uint32_t)sum);
}

/* ---- the state machine */
enum state { Start, Whole, Sign, Point, Fraction, Exponent, Power, Invalid, STATES };

static enum state next_state(enum state state, char c) {
  int digit = c >= '0' && c <= '9';
  switch (state) {
    case Start: return digit ? Whole : c == '+' || c == '-' ? Sign : c == '.' ? Point : Invalid;
    case Sign: return digit ? Whole : c == '.' ? Point : Invalid;
    case Whole: return digit ? Whole : c == '.' ? Point : c == 'e' ? Exponent : Invalid;
    case Point:
    case Fraction: return digit ? Fraction : c == 'e' ? Exponent : Invalid;
    case Exponent: return digit || c == '-' ? Power : Invalid;
    case Power: return digit ? Power : Invalid;
    default: return Invalid;
  }
}
OPAQUE static uint16_t machine(uint16_t crc, int seed) {
  uint32_t ends[STATES] = {0}, visits[STATES] = {0};
  text[seed % TEXT] ^= 1;
  for (const char *at = text; *at != 0; at++) {
    enum state state = Start;
    for (; *at != ',' && *at != 0; at++) {
      state = next_state(state, *at);
      visits[state]++;
    }
    ends[state]++;
    if (*at == 0) break;
  }
  text[seed % TEXT] ^= 1;
  for (int state = 0; state < STATES; state++) crc = crc32(crc, ends[state] << 16 ^ visits[state]);
  return crc;
}

static void setup(void) {
  static const char *const samples[] = {"5012", "-874", "+122", ".5e-3", "35.54400", "-110.700", "T0.3e-1F", "1e5", "-.e7", "9T+T", "+0.6e-12"};
  uint64_t state = 1;
  for (int at = 0; at < ITEMS; at++) {
    pool[at].key = (int16_t)(next_random(&state) % 2000);
    pool[at].place = (int16_t)at;
  }
  for (int row = 0; row < SIZE; row++) {
    for (int column = 0; column < SIZE; column++) {
      left[row][column] = (int16_t)(next_random(&state) % 200);
      right[row][column] = (int16_t)(next_random(&state) % 200);
    }
  }
  size_t at = 0;
  for (;;) {
    const char *sample = samples[next_random(&state) % (sizeof samples / sizeof samples[0])];
    size_t length = strlen(sample);
    if (at + length + 1 > TEXT) break;
    memcpy(text + at, sample, length);
    text[at + length] = ',';
    at += length + 1;
  }
}

OPAQUE static uint64_t run(void) {
  uint16_t crc = 0;
  for (int iteration = 0; iteration < ITERATIONS; iteration++) {
    crc = lists(crc, iteration);
    crc = matrices(crc, iteration & 7);
    crc = machine(crc, iteration * 53 + 7);
  }
  return crc;
}

KERNEL("iterations/s", ITERATIONS)
