/* mmap, munmap, mprotect, mremap, madvise, msync, brk, file mappings, guard pages, memory of forked processes. */
#include "guest.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf environment;
static void jump(int number) {
  siglongjmp(environment, number);
}
/* The signal that a load or store raises; 0 for none. */
static int touch(volatile char *at, int store) {
  int got = sigsetjmp(environment, 1);
  if (got == 0) {
    if (store) *at = 1;
    else (void)*at;
  }
  return got;
}

static char *guarded;
static volatile int grown;
static void grow(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  grown++;
  mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

static int recurse(int depth) {
  volatile char frame[1024];
  frame[0] = (char)depth;
  return depth == 0 ? 0 : recurse(depth - 1) + (frame[0] == (char)depth);
}

int main(void) {
  guest_begin();
  enter_scratch();
  const size_t PAGE = 4096;
  signal(SIGSEGV, jump);
  signal(SIGBUS, jump);
  result("the page size", sysconf(_SC_PAGESIZE), 4096);
  char *m = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  truth("mmap", m != MAP_FAILED && (uintptr_t)m % PAGE == 0);
  int zero = 1;
  for (size_t i = 0; i < 10 * PAGE; i++) zero = zero && m[i] == 0;
  truth("is zeros", zero);
  memset(m, 1, 10 * PAGE);
  result("munmap of a part", munmap(m + 4 * PAGE, 2 * PAGE), 0);
  result("before it", touch(m + 4 * PAGE - 1, 1), 0);
  result("in it", touch(m + 4 * PAGE, 1), SIGSEGV);
  result("behind it", touch(m + 6 * PAGE, 1), 0);
  result("munmap of nothing mapped", munmap(m + 4 * PAGE, 2 * PAGE), 0);
  char *again = mmap(m + 4 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  truth("MAP_FIXED", again == m + 4 * PAGE);
  truth("is zeros again", again[0] == 0 && again[2 * PAGE - 1] == 0);
  char *noreplace = mmap(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  fails("MAP_FIXED_NOREPLACE over a mapping", noreplace == MAP_FAILED ? -1 : 0, EEXIST);
  fails("mmap of no length", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mmap without a kind", mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mmap of a bad descriptor", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, BAD_FD, 0) == MAP_FAILED ? -1 : 0, EBADF);
  fails("MAP_FIXED at an odd address", mmap(m + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mmap of more than there is", mmap(NULL, (size_t)1 << 55, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
  fails("munmap at an odd address", munmap(m + 1, PAGE), EINVAL);
  fails("munmap of no length", munmap(m, 0), EINVAL);

  result("mprotect to read", mprotect(m, PAGE, PROT_READ), 0);
  result("a load works", touch(m, 0), 0);
  result("a store faults", touch(m, 1), SIGSEGV);
  result("the next page is as before", touch(m + PAGE, 1), 0);
  result("mprotect to nothing", mprotect(m, PAGE, PROT_NONE), 0);
  result("a load faults", touch(m, 0), SIGSEGV);
  fails("read(2) into it", ({ int fd = open("/dev/zero", O_RDONLY); long r = read(fd, m, 1); int e = errno; close(fd); errno = e; r; }), EFAULT);
  mprotect(m, PAGE, PROT_READ | PROT_WRITE);
  result("its contents are kept", m[0], 1);
  fails("mprotect of an unmapped page", ({ munmap(m + 9 * PAGE, PAGE); mprotect(m + 8 * PAGE, 2 * PAGE, PROT_READ); }), ENOMEM);
  fails("mprotect at an odd address", mprotect(m + 1, PAGE, PROT_READ), EINVAL);
  fails("mprotect with a bad protection", mprotect(m, PAGE, 0x80), EINVAL);
  result("mprotect of no length", mprotect(m, 0, PROT_READ), 0);
  mprotect(m + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE);

  result("MADV_DONTNEED", madvise(m, 2 * PAGE, MADV_DONTNEED), 0);
  truth("gives zeros", m[0] == 0 && m[2 * PAGE - 1] == 0 && m[2 * PAGE] == 1);
  result("MADV_WILLNEED", madvise(m, PAGE, MADV_WILLNEED), 0);
  result("MADV_FREE", madvise(m, PAGE, MADV_FREE), 0);
  fails("madvise with bad advice", madvise(m, PAGE, 12345), EINVAL);
  fails("madvise at an odd address", madvise(m + 1, PAGE, MADV_DONTNEED), EINVAL);
  fails("madvise of an unmapped page", madvise(m + 9 * PAGE, PAGE, MADV_DONTNEED), ENOMEM);
  munmap(m, 9 * PAGE);

  char *none = mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  truth("a large reservation", none != MAP_FAILED);
  result("cannot be touched", touch(none + (32 << 20), 0), SIGSEGV);
  result("until mprotect", mprotect(none + (32 << 20), 4 * PAGE, PROT_READ | PROT_WRITE), 0);
  result("opens a part", touch(none + (32 << 20), 1), 0);
  munmap(none, 64 << 20);

  m = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(m, "moved along");
  strcpy(m + 2 * PAGE, "third page");
  char *moved = mremap(m, 3 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
  truth("mremap grows", moved != MAP_FAILED && strcmp(moved, "moved along") == 0 && strcmp(moved + 2 * PAGE, "third page") == 0);
  truth("with zeros", moved[3 * PAGE] == 0 && moved[300 * PAGE - 1] == 0);
  char *shrunk = mremap(moved, 300 * PAGE, PAGE, 0);
  truth("mremap shrinks in place", shrunk == moved);
  result("the rest is gone", touch(moved + PAGE, 0), SIGSEGV);
  char *place = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *there = mremap(moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  truth("MREMAP_FIXED", there == place && strcmp(there, "moved along") == 0);
  result("the old place is gone", touch(moved, 0), SIGSEGV);
  fails("mremap of nothing mapped", mremap(moved, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0, EFAULT);
  fails("mremap at an odd address", mremap(there + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mremap to no length", mremap(there, PAGE, 0, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mremap with a bad flag", mremap(there, PAGE, PAGE, 0x10) == MAP_FAILED ? -1 : 0, EINVAL);
  fails("mremap without room", mremap(there, PAGE, 20 * PAGE, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
  munmap(place, 2 * PAGE);

  int fd = open("file", O_RDWR | O_CREAT, 0600);
  write(fd, "file contents", 13);
  m = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  truth("a file mapping", m != MAP_FAILED && memcmp(m, "file contents", 13) == 0);
  truth("zeros behind its end", m[13] == 0 && m[PAGE - 1] == 0);
  munmap(m, PAGE);
  m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  m[0] = 'F';
  same_text("a private store stays private", read_file("file"), "file contents");
  munmap(m, PAGE);
  m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  m[0] = 'S';
  result("msync", msync(m, PAGE, MS_SYNC), 0);
  same_text("a shared store reaches the file", read_file("file"), "Sile contents");
  fails("msync with bad flags", msync(m, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
  fails("msync of an unmapped page", msync(m + 100 * PAGE, PAGE, MS_SYNC), ENOMEM);
  pwrite(fd, "W", 1, 1);
  msync(m, PAGE, MS_SYNC | MS_INVALIDATE);
  result("a write shows in a shared mapping", m[1], 'W');
  m[2] = 'U';
  munmap(m, PAGE);
  same_text("munmap keeps shared stores", read_file("file"), "SWUe contents");
  close(fd);
  fd = open("file", O_RDONLY);
  fails("a shared mapping for writing of a file opened for reading", mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, EACCES);
  m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  truth("a private one is allowed", m != MAP_FAILED);
  close(fd);
  result("a mapping outlives its descriptor", m[0], 'S');
  munmap(m, PAGE);
  fd = open("file", O_WRONLY);
  fails("a mapping of a file opened for writing", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0, EACCES);
  close(fd);
  fd = open("file", O_RDWR);
  fails("a mapping at an odd offset", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED ? -1 : 0, EINVAL);
  ftruncate(fd, 3 * PAGE);
  pwrite(fd, "third", 5, 2 * PAGE);
  m = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 2 * PAGE);
  truth("a mapping with an offset", m != MAP_FAILED && strcmp(m, "third") == 0);
  munmap(m, PAGE);
  close(fd);
  unlink("file");
  fd = open(".", O_RDONLY);
  fails("a mapping of a folder", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0, ENODEV);
  close(fd);
  fd = open("/dev/zero", O_RDWR);
  m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  truth("a mapping of /dev/zero", m != MAP_FAILED && m[5] == 0);
  if (m != MAP_FAILED) munmap(m, PAGE);
  close(fd);

  char *start = sbrk(0);
  result("sbrk grows", (char *)sbrk(100 * PAGE) - start, 0);
  truth("with zeros", start[0] == 0 && start[100 * PAGE - 1] == 0);
  memset(start, 3, 100 * PAGE);
  sbrk(-(intptr_t)(100 * PAGE));
  result("sbrk shrinks", (char *)sbrk(0) - start, 0);
  sbrk(PAGE * 2);
  result("and grows with zeros again", start[PAGE], 0);
  result("brk to an impossible place leaves it", syscall(SYS_brk, 0x10) - (long)(start + 2 * PAGE), 0);

  guarded = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_sigaction = grow, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  for (int i = 0; i < 16; i++) guarded[i * PAGE + 17] = (char)i;
  result("guard pages opened by a handler", grown, 16);
  int right = 1;
  for (int i = 0; i < 16; i++) right = right && guarded[i * PAGE + 17] == i;
  truth("and written", right);
  signal(SIGSEGV, jump);
  munmap(guarded, 16 * PAGE);

  char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  if (child == 0) {
    shared[0] = 'c';
    shared[PAGE] = 'd';
    own[0] = 'c';
    for (int i = 0; i < 2000 && *(volatile char *)(shared + 1) != 'p'; i++) sleep_ms(1);
    shared[2] = 'e';
    _exit(0);
  }
  for (int i = 0; i < 2000 && *(volatile char *)shared != 'c'; i++) sleep_ms(1);
  result("shared memory shows a child's store", shared[0], 'c');
  shared[1] = 'p';
  waitpid(child, NULL, 0);
  truth("and both ways", shared[2] == 'e' && shared[PAGE] == 'd');
  result("private memory does not", own[0], 0);
  munmap(shared, 2 * PAGE);

  int memory = (int)syscall(SYS_memfd_create, "name", 0);
  truth("memfd_create", memory >= 0);
  ftruncate(memory, PAGE);
  char *first = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  truth("its mapping", first != MAP_FAILED);
  if (first != MAP_FAILED) {
    strcpy(first, "in memory");
    msync(first, PAGE, MS_SYNC);
    char text[16] = "";
    pread(memory, text, 9, 0);
    same_text("reads back", text, "in memory");
    munmap(first, PAGE);
  }
  close(memory);

  /* Code made at run time: mov a0, 42; ret. */
#if defined(__riscv)
  static const unsigned int code[] = {0x02a00513, 0x00008067}, other[] = {0x02b00513, 0x00008067};
#else
  static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}, other[] = {0xb8, 43, 0, 0, 0, 0xc3};
#endif
  m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(m, code, sizeof code);
  __builtin___clear_cache(m, m + sizeof code);
  int got = sigsetjmp(environment, 1);
  if (got == 0) ((int (*)(void))m)();
  result("data is not executable", got, SIGSEGV);
  result("mprotect to execute", mprotect(m, PAGE, PROT_READ | PROT_EXEC), 0);
  result("code made at run time", ((int (*)(void))m)(), 42);
  mprotect(m, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  memcpy(m, other, sizeof other);
  __builtin___clear_cache(m, m + sizeof other);
  result("code changed at run time", ((int (*)(void))m)(), 43);
  munmap(m, PAGE);
  result("a deep stack", recurse(4000), 4000);
  void *blocks[200];
  for (int i = 0; i < 200; i++) blocks[i] = malloc((size_t)i * 997 + 1), memset(blocks[i], i, (size_t)i * 997 + 1);
  for (int i = 0; i < 200; i += 2) free(blocks[i]);
  for (int i = 0; i < 200; i += 2) blocks[i] = calloc(1, (size_t)i * 1009 + 1);
  right = 1;
  for (int i = 1; i < 200; i += 2) right = right && ((unsigned char *)blocks[i])[i * 997] == i;
  truth("malloc, free and calloc", right);
  for (int i = 0; i < 200; i++) free(blocks[i]);
  void *large = malloc(40 << 20);
  truth("a large block", large != NULL);
  free(large);
  result("mlock", mlock(own, PAGE), 0);
  result("munlock", munlock(own, PAGE), 0);
  unsigned char resident = 0;
  own[0] = 1;
  result("mincore", mincore(own, PAGE, &resident), 0);
  result("says resident", resident & 1, 1);
  leave_scratch();
  return guest_end();
}
