/* The vDSO: the time without system calls, and where C libraries find it. With an argument: only asks for the time, a thousand times. */
#include "guest.h"
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>

static long long nanoseconds(const struct timespec *time) {
  return time->tv_sec * 1000000000LL + time->tv_nsec;
}
static long long call_clock(clockid_t clock) {
  struct timespec time;
  if (syscall(SYS_clock_gettime, clock, &time) != 0) return -1;
  return nanoseconds(&time);
}
static long long library_clock(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) return -1;
  return nanoseconds(&time);
}

static time_t time_seconds(void) {
  return time(NULL);
}

static sigjmp_buf back;
static void *volatile fault_address;
static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  fault_address = info->si_addr;
  siglongjmp(back, 1);
}

static volatile int ticks;
static void on_tick(int number) {
  (void)number;
  ticks++;
}

static ElfW(Addr) object;
static int listed;
static int list(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  (void)data;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_addr + info->dlpi_phdr[i].p_vaddr == object) listed++;
  return 0;
}

/* A line of /proc/self/maps that ends with this name; empty when there is none. */
static char *mapping(const char *name) {
  static char line[512];
  FILE *file = fopen("/proc/self/maps", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (strstr(line, name) != NULL) {
      fclose(file);
      return line;
    }
  if (file != NULL) fclose(file);
  line[0] = 0;
  return line;
}

static void *clock_thread(void *argument) {
  (void)argument;
  for (int i = 0; i < 2000; i++) {
    long long a = library_clock(CLOCK_MONOTONIC), b = call_clock(CLOCK_MONOTONIC);
    if (a < 0 || b < a) return (void *)1;
    if (i % 100 == 0) sched_yield();
  }
  return NULL;
}

#ifdef __riscv
/* As a C library that does not trust its linker: by the symbol table, for one version. */
static void *lookup(const char *name, const char *version) {
  const ElfW(Ehdr) *header = (void *)object;
  const ElfW(Phdr) *segments = (void *)(object + header->e_phoff);
  const ElfW(Dyn) *dynamic = NULL;
  size_t bias = 0;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type == PT_LOAD) bias = object + segments[i].p_offset - segments[i].p_vaddr;
    else if (segments[i].p_type == PT_DYNAMIC) dynamic = (void *)(object + segments[i].p_offset);
  }
  const char *strings = NULL;
  const ElfW(Sym) *symbols = NULL;
  const uint32_t *hash = NULL;
  const uint16_t *versions = NULL;
  const ElfW(Verdef) *definition = NULL;
  for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
    void *at = (void *)(bias + dynamic->d_un.d_ptr);
    switch (dynamic->d_tag) {
      case DT_STRTAB: strings = at; break;
      case DT_SYMTAB: symbols = at; break;
      case DT_HASH: hash = at; break;
      case DT_VERSYM: versions = at; break;
      case DT_VERDEF: definition = at; break;
    }
  }
  if (strings == NULL || symbols == NULL || hash == NULL || versions == NULL || definition == NULL) return NULL;
  int wanted = -1;
  for (;;) {
    const ElfW(Verdaux) *text = (void *)((char *)definition + definition->vd_aux);
    if ((definition->vd_flags & VER_FLG_BASE) == 0 && strcmp(strings + text->vda_name, version) == 0) wanted = definition->vd_ndx & 0x7fff;
    if (definition->vd_next == 0) break;
    definition = (void *)((char *)definition + definition->vd_next);
  }
  for (uint32_t i = 1; i < hash[1]; i++)
    if (symbols[i].st_shndx != SHN_UNDEF && (versions[i] & 0x7fff) == wanted && strcmp(strings + symbols[i].st_name, name) == 0)
      return (void *)(bias + symbols[i].st_value);
  return NULL;
}
#endif

/* What only riscv64 has: the same lines elsewhere. */
static void riscv(void) {
  static const char *const names[] = {"__vdso_rt_sigreturn", "__vdso_gettimeofday", "__vdso_clock_gettime", "__vdso_clock_getres", "__vdso_getcpu", "__vdso_flush_icache"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
#ifdef __riscv
    truth(names[i], lookup(names[i], "LINUX_4.15") != NULL && lookup(names[i], "LINUX_2.6") == NULL);
#else
    guest_ok(names[i]);
#endif
  }
  int returns = 1, days = 1, getcpu_works = 1, flushes = 1, read_only = 1, shown = 1, alone = 1;
#ifdef __riscv
  const uint32_t *code = lookup("__vdso_rt_sigreturn", "LINUX_4.15");
  returns = code != NULL && code[0] == 0x08b00893 && code[1] == 0x00000073;
  int (*day_function)(struct timeval *, struct timezone *) = lookup("__vdso_gettimeofday", "LINUX_4.15");
  for (int i = 0; i < 1000 && days; i++) {
    struct timeval day = {0, 0};
    struct timezone zone = {77, 77};
    long long a = call_clock(CLOCK_REALTIME) / 1000;
    days = day_function != NULL && day_function(&day, i % 2 ? &zone : NULL) == 0 && zone.tz_minuteswest == (i % 2 ? 0 : 77) && day_function(NULL, NULL) == 0;
    long long b = day.tv_sec * 1000000LL + day.tv_usec, c = call_clock(CLOCK_REALTIME) / 1000;
    days = days && a <= b && b <= c && day.tv_usec < 1000000;
  }
  long (*getcpu_function)(unsigned *, unsigned *, void *) = lookup("__vdso_getcpu", "LINUX_4.15");
  unsigned cpu = 77, node = 77;
  getcpu_works = getcpu_function != NULL && getcpu_function(&cpu, &node, NULL) == 0 && cpu == 0 && node == 0 && getcpu_function(NULL, NULL, NULL) == 0;
  long (*flush)(void *, void *, unsigned long) = lookup("__vdso_flush_icache", "LINUX_4.15");
  flushes = flush != NULL && flush(&cpu, &cpu + 1, 0) == 0 && flush(&cpu, &cpu + 1, 1) == 0 && flush(&cpu, &cpu + 1, 2) == -EINVAL;
  /* li a0, n; ret: written, flushed and run, again and again. */
  uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint32_t n = 0; n < 1000 && flushes; n++) {
    page[0] = 0x00000513 | n << 20;
    page[1] = 0x00008067;
    flush(page, page + 2, 0);
    flushes = ((int (*)(void))page)() == (int)n;
  }
  munmap(page, 4096);
  char *line = mapping("[vvar]");
  shown = strstr(line, " r--p ") != NULL && strtoul(strchr(line, '-') + 1, NULL, 16) == object;
  read_only = sigsetjmp(back, 1) != 0;
  if (!read_only) *(volatile char *)(object - 8) = 1;
  alone = fault_address == (void *)(object - 8);
#endif
  truth("the signal frame's code is what unwinders look for", returns);
  truth("gettimeofday", days);
  truth("getcpu", getcpu_works);
  truth("flush_icache", flushes);
  truth("[vvar] is shown, below the code and read-only", shown);
  truth("[vvar] cannot be written", read_only && alone);
}

int main(int count, char **arguments) {
  (void)arguments;
  struct timespec time;
  struct timeval day;
  if (count > 1) {
    long long sum = 0;
    for (int i = 0; i < 1000; i++) {
      if (clock_gettime(CLOCK_MONOTONIC, &time) != 0 || clock_gettime(CLOCK_REALTIME, &time) != 0 || clock_getres(CLOCK_REALTIME, &time) != 0) return 1;
      if (gettimeofday(&day, NULL) != 0 || sched_getcpu() < 0) return 1;
      sum += day.tv_sec;
    }
    puts(sum > 0 ? "done" : "failed");
    return 0;
  }
  guest_begin();
  object = getauxval(AT_SYSINFO_EHDR);
  truth("AT_SYSINFO_EHDR", object != 0 && memcmp((void *)object, ELFMAG, SELFMAG) == 0);
  char *line = mapping("[vdso]");
  truth("[vdso] is shown, readable and executable", strtoul(line, NULL, 16) == object && strstr(line, " r-xp ") != NULL);
  dl_iterate_phdr(list, NULL);
  equal("dl_iterate_phdr lists it once", listed, 1);

  static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
  for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
    int ordered = 1;
    for (int round = 0; round < 1000; round++) {
      long long a = call_clock(clocks[i]), b = library_clock(clocks[i]), c = call_clock(clocks[i]);
      ordered = ordered && a > 0 && a <= b && b <= c;
    }
    char name[64];
    snprintf(name, sizeof name, "clock %d between two system calls", clocks[i]);
    truth(name, ordered);
    struct timespec fine;
    snprintf(name, sizeof name, "clock %d has the same resolution", clocks[i]);
    truth(name, clock_getres(clocks[i], &time) == 0 && syscall(SYS_clock_getres, clocks[i], &fine) == 0 && nanoseconds(&time) == nanoseconds(&fine) && clock_getres(clocks[i], NULL) == 0);
  }
  int ordered = 1;
  for (int round = 0; round < 1000; round++) {
    long long a = call_clock(CLOCK_REALTIME) / 1000;
    gettimeofday(&day, NULL);
    long long b = day.tv_sec * 1000000LL + day.tv_usec, c = call_clock(CLOCK_REALTIME) / 1000;
    struct timeval other;
    syscall(SYS_gettimeofday, &other, NULL);
    ordered = ordered && a <= b && b <= c && c <= other.tv_sec * 1000000LL + other.tv_usec && day.tv_usec >= 0 && day.tv_usec < 1000000;
  }
  truth("gettimeofday between two system calls", ordered);
  struct timezone zone = {77, 77};
  truth("gettimeofday tells a zone", gettimeofday(&day, &zone) == 0 && zone.tz_minuteswest == 0);
  time_t before = time_seconds(), after;
  clock_gettime(CLOCK_REALTIME_COARSE, &time);
  after = time_seconds();
  truth("time", before <= time.tv_sec && time.tv_sec <= after);

  long long a = library_clock(CLOCK_PROCESS_CPUTIME_ID), b = library_clock(CLOCK_THREAD_CPUTIME_ID);
  truth("clocks of CPU time", a > 0 && b > 0 && library_clock(CLOCK_PROCESS_CPUTIME_ID) >= a && library_clock(CLOCK_THREAD_CPUTIME_ID) >= b);
  fails("clock 10", clock_gettime(10, &time), EINVAL);
  fails("clock 15", clock_gettime(15, &time), EINVAL);
  fails("clock 16", clock_gettime(16, &time), EINVAL);
  fails("resolution of clock 100", clock_getres(100, &time), EINVAL);
  fails("clock -1", clock_gettime(-1, &time), EINVAL);
  truth("sched_getcpu", sched_getcpu() >= 0);

  fails("system call clock_gettime to a bad pointer", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD_POINTER), EFAULT);
  fails("system call gettimeofday to a bad pointer", syscall(SYS_gettimeofday, BAD_POINTER, NULL), EFAULT);
  fails("system call clock_getres to a bad pointer", syscall(SYS_clock_getres, CLOCK_MONOTONIC, BAD_POINTER), EFAULT);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  int faulted = sigsetjmp(back, 1);
  if (faulted == 0) clock_gettime(CLOCK_MONOTONIC, BAD_POINTER);
  truth("clock_gettime to a bad pointer is a fault there", faulted == 1 && fault_address == BAD_POINTER);
  riscv();

  signal(SIGALRM, on_tick);
  struct itimerval fast = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &fast, NULL);
  ordered = 1;
  long long last = 0;
  for (int i = 0; (i < 20000 || ticks < 5) && i < 100000000; i++) {
    long long now = library_clock(CLOCK_MONOTONIC);
    ordered = ordered && now >= last;
    last = now;
  }
  setitimer(ITIMER_REAL, &none, NULL);
  truth("signals interrupt it, and it goes on", ordered && ticks >= 5);

  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, clock_thread, NULL);
  ordered = 1;
  for (int i = 0; i < 4; i++) {
    void *bad;
    pthread_join(threads[i], &bad);
    ordered = ordered && bad == NULL;
  }
  truth("threads", ordered);
  last = library_clock(CLOCK_MONOTONIC);
  pid_t child = fork();
  if (child == 0) {
    long long now = library_clock(CLOCK_MONOTONIC);
    _exit(now >= last && now <= call_clock(CLOCK_MONOTONIC) ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  equal("a forked child", status, 0);
  return guest_end();
}
