/* Many short calls on records, strings and small arrays, as programs of the 1980s did: each function is a call of its own. */
#include "kernel.h"

enum { TURNS = 2000 };

enum colour { Red, Green, Blue, Black };
struct account {
  struct account *next;
  enum colour colour;
  int balance, limit;
  char owner[32];
};

static struct account first, second;
static int ledger[64], history[16][16];
static char label[32];
static int total;

OPAQUE static int plus(int left, int right) { return left + right + 1; }

OPAQUE static enum colour mixed(enum colour one, enum colour two) {
  if (one == two) return one;
  switch (one) {
    case Red: return two == Green ? Blue : Black;
    case Green: return two == Red ? Blue : Green;
    case Blue: return Red;
    default: return two;
  }
}

OPAQUE static int same_start(const char *left, const char *right, int length) {
  for (int at = 0; at < length; at++) {
    if (left[at] != right[at]) return at;
  }
  return -1;
}

OPAQUE static void note(int *list, int (*table)[16], int at, int value) {
  list[at] = value;
  list[at + 1] = list[at];
  list[at + 30] = at;
  for (int row = at & 7; row <= (at & 7) + 1; row++) table[row][at & 15] = at + row;
  table[at & 7][(at + 3) & 15] += 1;
  total += 5;
}

OPAQUE static void settle(struct account *account, int *amount) {
  if (account->balance + *amount > account->limit) {
    *amount = account->limit - account->balance;
    account->balance = account->limit;
  } else {
    account->balance += *amount;
    *amount = 0;
  }
}

OPAQUE static int later(const char *left, const char *right) {
  int at = 2;
  while (at <= 2) {
    if (left[at] != right[at + 1]) at += 3;
    else at += 1;
  }
  return strcmp(left, right) > 0;
}

OPAQUE static void pass_on(struct account *account) {
  struct account *next = account->next;
  *next = *account;
  next->balance = plus(account->balance, 10);
  next->next = account->next;
  next->colour = mixed(account->colour, Green);
  if (next->colour != account->colour) {
    int rest = 7;
    settle(next, &rest);
    next->limit = plus(rest, next->limit);
  } else *account = *next;
}

static void setup(void) {}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  memset(ledger, 0, sizeof ledger);
  memset(history, 0, sizeof history);
  total = 0;
  first = (struct account){&second, Red, 5, 40, "the first owner's full name, 31"};
  second = (struct account){&first, Green, 1, 60, "another owner's full name, 31 c"};
  for (int turn = 0; turn < TURNS; turn++) {
    char name[32];
    int one = 2, two = 3, amount = turn % 9;
    strcpy(name, "the second owner's full name, 3");
    first.colour = (enum colour)(turn & 3);
    first.balance = turn % 17;
    first.limit = 40;
    if (same_start(name, first.owner, 5) < 0) one = plus(one, 1);
    while (one < two + 2) {
      amount = 5 * one - two;
      two = plus(amount, two) % 11;
      one++;
    }
    note(ledger, history, (one + turn) & 31, amount);
    pass_on(&first);
    for (char letter = 'A'; letter <= 'A' + (turn & 3); letter++) {
      if (mixed((enum colour)(letter & 3), second.colour) == Blue) {
        strcpy(label, "a label of the second owner, 31");
        two = turn;
      }
    }
    if (later(first.owner, name)) total += two;
    settle(&second, &amount);
    sum = sum * 33 + (uint64_t)(unsigned)(total + one * two + second.balance + amount + (int)second.colour);
  }
  for (int at = 0; at < 64; at++) sum = fold(sum, (uint64_t)(unsigned)(ledger[at] + history[at & 15][at >> 2]));
  return fold(sum, (uint64_t)label[3]);
}

KERNEL("turns/s", TURNS)
