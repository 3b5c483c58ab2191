/* Address ranges that are reserved before they are used, memory that counts when it is used, guard pages, growth.
   `reservations hog`: uses memory until there is none; for a cVM with a limit. */
#include "guest.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
static const size_t PAGE = 4096;

static sigjmp_buf environment;
static siginfo_t seen;
static void fault(int number, siginfo_t *info, void *context) {
  (void)context;
  seen = *info;
  siglongjmp(environment, number);
}
/* The signal that a load or store raises, 0 for none; `seen` has the rest. */
static int touch(volatile char *at, int store) {
  int got = sigsetjmp(environment, 1);
  if (got == 0) {
    if (store) *at = 1;
    else (void)*at;
  }
  return got;
}
static char *map(size_t bytes, int prot, int flags) {
  return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}
static long resident_mib(void) {
  long size = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) resident = -1;
  if (file != NULL) fclose(file);
  return resident * 4096 / (long)MIB;
}

static volatile int stop;
static volatile long *volatile counter;
static void *count(void *unused) {
  long rounds = 0;
  while (!stop) (*counter)++, rounds++;
  return (void *)(rounds + 0 * (long)unused);
}

static int hog(void) {
  char *large = map(900 * MIB, PROT_READ | PROT_WRITE, 0);
  printf("more than the limit: %s\n", large == MAP_FAILED ? strerror(errno) : "mapped");
  large = map(900 * MIB, PROT_READ | PROT_WRITE, MAP_NORESERVE);
  printf("without reserve: %s\n", large == MAP_FAILED ? strerror(errno) : "mapped");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    for (size_t i = 0; i < 900 * MIB; i += PAGE) large[i] = 1;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  printf("a child that uses it all: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  char *piece = large;
  size_t pieces = 0;
  for (;; pieces++) {
    piece = map(MIB, PROT_READ | PROT_WRITE, 0);
    if (piece == MAP_FAILED) break;
    memset(piece, 1, MIB);
  }
  printf("pieces until there is no memory: %s, %s\n", pieces >= 40 && pieces < 64 ? "right" : "wrong", strerror(errno));
  child = fork();
  if (child == 0) _exit(0);
  printf("fork: %s\n", child < 0 ? strerror(errno) : "done");
  printf("sbrk: %s\n", sbrk(16 * MIB) == (void *)-1 ? strerror(errno) : "done");
  return 7;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "hog") == 0) return hog();
  guest_begin();
  struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);

  char *gigabytes = map(GIB, PROT_NONE, 0);
  truth("a GiB is reserved", gigabytes != MAP_FAILED);
  char *more = map(64 * GIB, PROT_NONE, MAP_NORESERVE);
  truth("64 GiB more", more != MAP_FAILED);
  result("a load from a reservation", touch(gigabytes + 700 * MIB, 0), SIGSEGV);
  result("is one without permission", seen.si_code, SEGV_ACCERR);
  truth("at its address", seen.si_addr == gigabytes + 700 * MIB);
  result("a load from another", touch(more + 60 * GIB, 0), SIGSEGV);
  truth("says the same", seen.si_code == SEGV_ACCERR && seen.si_addr == more + 60 * GIB);
  result("a store to it", touch(gigabytes + 77, 1), SIGSEGV);
  truth("at its address to the byte", seen.si_code == SEGV_ACCERR && seen.si_addr == gigabytes + 77);
  truth("MAP_FIXED_NOREPLACE in it", map(PAGE, PROT_NONE, 0) != MAP_FAILED &&
        mmap(gigabytes + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
  char *fixed = mmap(gigabytes + 3 * MIB, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  truth("MAP_FIXED in it", fixed == gigabytes + 3 * MIB && touch(fixed + MIB - 1, 1) == 0 && touch(fixed + MIB, 1) == SIGSEGV);
  result("mprotect of a part", mprotect(more + 5 * MIB, 2 * PAGE, PROT_READ | PROT_WRITE), 0);
  truth("opens it", touch(more + 5 * MIB, 1) == 0 && more[5 * MIB] == 1 && more[5 * MIB + 1] == 0 && touch(more + 5 * MIB + 2 * PAGE, 0) == SIGSEGV);
  result("munmap of a part", munmap(more + 32 * GIB, GIB), 0);
  result("a load from there", touch(more + 32 * GIB, 0), SIGSEGV);
  result("is one of no mapping", seen.si_code, SEGV_MAPERR);
  truth("at its address", seen.si_addr == more + 32 * GIB);
  truth("MAP_FIXED_NOREPLACE in the hole", mmap(more + 32 * GIB, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == more + 32 * GIB);
  fails("mprotect over a hole", mprotect(more + 32 * GIB, GIB, PROT_NONE), ENOMEM);
  char *shrunk = mremap(more, 32 * GIB, 16 * GIB, 0);
  truth("mremap of a reservation with an open part", shrunk == more || (shrunk == MAP_FAILED && errno == EFAULT));
  result("all of it is given back", munmap(more, 64 * GIB) | munmap(gigabytes, GIB), 0);
  result("and gone", touch(fixed, 0), SIGSEGV);

  long before = resident_mib();
  char *large = map(96 * MIB, PROT_READ | PROT_WRITE, 0);
  truth("memory that is mapped", large != MAP_FAILED);
  truth("is not used", resident_mib() - before < 8);
  int zero = 1;
  for (size_t i = 0; i < 96 * MIB; i += PAGE) zero = zero && large[i + 9] == 0;
  truth("is zeros", zero);
  truth("and not used by loads", resident_mib() - before < 8);
  for (size_t i = 0; i < 32 * MIB; i += PAGE) large[i] = (char)(i / PAGE);
  truth("but by stores", resident_mib() - before >= 31 && resident_mib() - before < 48);
  result("MADV_DONTNEED", madvise(large + 8 * MIB, 24 * MIB, MADV_DONTNEED), 0);
  truth("gives it back", resident_mib() - before < 20);
  int right = 1;
  for (size_t i = 0; i < 32 * MIB; i += PAGE) right = right && large[i] == (i < 8 * MIB ? (char)(i / PAGE) : 0);
  truth("as zeros", right);
  result("stores over the border of two pages", (*(volatile long *)(large + 40 * MIB - 3) = 0x0102030405060708) == 0x0102030405060708 && large[40 * MIB - 3] == 8 && large[40 * MIB + 4] == 1, 1);
  int atomic = __atomic_add_fetch((long *)(large + 50 * MIB), 5, __ATOMIC_SEQ_CST) == 5;
  long expected = 0;
  atomic = atomic && __atomic_compare_exchange_n((long *)(large + 51 * MIB), &expected, 9, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  truth("atomics on pages that were not used", atomic && large[51 * MIB] == 9);
  int ends[2];
  truth("read(2) to such pages", pipe(ends) == 0 && write(ends[1], "piped", 5) == 5 && read(ends[0], large + 61 * MIB - 2, 5) == 5 && memcmp(large + 61 * MIB - 2, "piped", 5) == 0);
  truth("write(2) from such pages", write(ends[1], large + 70 * MIB, 5) == 5 && read(ends[0], large, 5) == 5 && memcmp(large, "\0\0\0\0\0", 5) == 0);

  /* The process grows while another thread runs and pointers are all over its memory. */
  char *old = large;
  memset(old, 3, MIB);
  char **chain = (char **)(old + 4 * MIB);
  chain[0] = old;
  counter = (long *)(old + 2 * MIB);
  *counter = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, count, NULL);
  for (int i = 0; i < 1000 && *counter == 0; i++) sleep_ms(1);
  char *pieces[5];
  for (int i = 0; i < 5; i++) {
    pieces[i] = map(160 * MIB, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (pieces[i] != MAP_FAILED) pieces[i][0] = (char)i, pieces[i][160 * MIB - 1] = (char)(i + 1);
    sleep_ms(2);
  }
  stop = 1;
  void *rounds;
  pthread_join(thread, &rounds);
  right = 1;
  for (int i = 0; i < 5; i++) right = right && pieces[i] != MAP_FAILED && pieces[i][0] == i && pieces[i][160 * MIB - 1] == i + 1;
  truth("800 MiB more of addresses", right);
  truth("what was there is there", chain[0] == old && old[0] == 3 && old[MIB - 1] == 3 && large[51 * MIB] == 9);
  truth("a thread runs on meanwhile", *counter == (long)rounds && *counter > 0);
  pid_t child = fork();
  if (child == 0) _exit(pieces[4][160 * MIB - 1] == 5 && chain[0][5] == 3 ? 21 : 22);
  int status = 0;
  waitpid(child, &status, 0);
  result("a child has it all", WEXITSTATUS(status), 21);
  for (int i = 0; i < 5; i++) munmap(pieces[i], 160 * MIB);

  char *moved = map(2 * MIB, PROT_READ | PROT_WRITE, 0);
  map(PAGE, PROT_NONE, 0);
  moved[MIB] = 7;
  char *grown = mremap(moved, 2 * MIB, 120 * MIB, MREMAP_MAYMOVE);
  truth("mremap to 120 MiB", grown != MAP_FAILED && grown[MIB] == 7 && grown[119 * MIB] == 0);
  truth("which is not used", resident_mib() - before < 40);
  char *start = sbrk(0);
  truth("12 MiB of heap", sbrk(12 * MIB) == start && start[12 * MIB - 1] == 0);
  start[11 * MIB] = 1;
  sbrk(-(intptr_t)(12 * MIB));
  result("the heap's end faults again", touch(start + 12 * MIB - 1, 0), SIGSEGV);
  sbrk(12 * MIB);
  result("and comes back as zeros", start[11 * MIB], 0);
  return guest_end();
}
