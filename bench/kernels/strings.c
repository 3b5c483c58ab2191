/* Text: words are cut out, counted in a table of strings, numbers are read and written, by the C library's string functions and loops over characters. */
#include "kernel.h"

enum { TEXT = 16384, BUCKETS = 512, WORDS = 2048 };

struct word {
  struct word *next;
  char text[16];
  uint32_t count;
};
static char text[TEXT + 1], line[64];
static struct word *buckets[BUCKETS], words[WORDS];

static void setup(void) {
  uint64_t state = 11;
  int at = 0;
  while (at < TEXT - 16) {
    if (next_random(&state) % 6 == 0) {
      at += sprintf(text + at, "%u", next_random(&state) % 100000u);
    } else {
      /* Few first letters and lengths, so that words come again. */
      uint32_t kind = next_random(&state) % 700;
      uint64_t letters = kind * 77 + 1;
      uint32_t length = 2 + kind % 9;
      while (length-- > 0) text[at++] = (char)('a' + next_random(&letters) % 26);
    }
    text[at++] = next_random(&state) % 9 == 0 ? '\n' : ' ';
  }
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0, numbers = 0;
  uint32_t used = 0;
  memset(buckets, 0, sizeof buckets);
  const char *end = text + strlen(text);
  for (const char *at = text; at < end;) {
    const char *stop = at;
    while (stop < end && *stop != ' ' && *stop != '\n') stop++;
    size_t length = (size_t)(stop - at);
    if (*at >= '0' && *at <= '9') {
      uint64_t value = 0;
      for (const char *digit = at; digit < stop; digit++) value = value * 10 + (uint64_t)(*digit - '0');
      numbers += value;
    } else {
      char copy[16];
      uint32_t hash = 0;
      memcpy(copy, at, length);
      copy[length] = 0;
      for (const char *letter = copy; *letter != 0; letter++) hash = hash * 31 + (uint8_t)*letter;
      struct word *word = buckets[hash % BUCKETS];
      while (word != NULL && strcmp(word->text, copy) != 0) word = word->next;
      if (word == NULL) {
        word = &words[used++];
        strcpy(word->text, copy);
        word->count = 0;
        word->next = buckets[hash % BUCKETS];
        buckets[hash % BUCKETS] = word;
      }
      word->count++;
    }
    at = stop + 1;
  }
  for (uint32_t at = 0; at < used; at++) {
    char *out = line;
    const char *from = words[at].text;
    for (size_t left = strlen(from); left > 0; left--) *out++ = from[left - 1];
    *out++ = '=';
    uint32_t value = words[at].count;
    do *out++ = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    *out = 0;
    for (const char *letter = line; *letter != 0; letter++) sum = sum * 131 + (uint8_t)*letter;
  }
  return fold(fold(sum, numbers), used);
}

KERNEL("bytes/s", TEXT)
