/* Limits and seldom used forms: RLIMIT_FSIZE, alternate stacks that disarm themselves, close_range, birth times. */
#include "guest.h"
#include <sched.h>
#include <sys/resource.h>
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static volatile int exceeded;
static void on_exceeded(int number) {
  exceeded += number == SIGXFSZ;
}

static void file_size(void) {
  struct rlimit limit = {10000, RLIM_INFINITY};
  signal(SIGXFSZ, on_exceeded);
  int fd = open("limited", O_RDWR | O_CREAT | O_TRUNC, 0644);
  char bytes[8192] = {0};
  result("RLIMIT_FSIZE", setrlimit(RLIMIT_FSIZE, &limit), 0);
  result("below it", write(fd, bytes, 8192), 8192);
  result("a write is cut", write(fd, bytes, 8192), 1808);
  fails("one at the limit", write(fd, bytes, 1), EFBIG);
  result("is SIGXFSZ", exceeded, 1);
  fails("pwrite behind it", pwrite(fd, bytes, 1, 20000), EFBIG);
  fails("ftruncate behind it", ftruncate(fd, 10001), EFBIG);
  result("up to it", ftruncate(fd, 10000), 0);
  fails("truncate", truncate("limited", 20000), EFBIG);
  fails("fallocate", fallocate(fd, 0, 0, 20000), EFBIG);
  result("each told", exceeded, 5);
  result("a smaller size", ftruncate(fd, 10), 0);
  int p[2];
  pipe(p);
  result("pipes have none", write(p[1], bytes, 8192) + write(p[1], bytes, 8192), 16384);
  close(p[0]);
  close(p[1]);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_DFL);
    pwrite(fd, bytes, 1, 10000);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  result("without a handler it ends the process", status & 0x7f, SIGXFSZ);
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit(RLIMIT_FSIZE, &limit);
  close(fd);
  unlink("limited");
}

static char stack[65536];
static struct {
  int on, flags, again, changed;
} seen;
static void on_stack(int number) {
  (void)number;
  char here;
  stack_t now;
  seen.on = &here >= stack && &here < stack + sizeof stack;
  sigaltstack(NULL, &now);
  seen.flags = now.ss_flags;
  stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
  if (now.ss_flags == SS_ONSTACK) seen.changed = sigaltstack(&other, NULL) == 0 ? 1 : errno;
}

static void stacks(void) {
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = SS_AUTODISARM};
  result("SS_AUTODISARM", sigaltstack(&alternate, NULL), 0);
  stack_t now;
  sigaltstack(NULL, &now);
  result("is told", (unsigned)now.ss_flags, SS_AUTODISARM);
  struct sigaction action = {.sa_handler = on_stack, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  truth("the handler is on it", seen.on);
  result("where it is disarmed", seen.flags, SS_DISABLE);
  sigaltstack(NULL, &now);
  truth("it is back after that", (unsigned)now.ss_flags == SS_AUTODISARM && now.ss_size == sizeof stack);
  alternate.ss_flags = 0;
  sigaltstack(&alternate, NULL);
  raise(SIGUSR1);
  result("an ordinary one is in use", seen.flags, SS_ONSTACK);
  result("and may not be changed", seen.changed, EPERM);
  alternate.ss_flags = SS_ONSTACK | SS_DISABLE;
  fails("both flags", sigaltstack(&alternate, NULL), EINVAL);
  alternate.ss_flags = SS_DISABLE;
  sigaltstack(&alternate, NULL);
}

static int in_shared_table(void *argument) {
  int *fds = argument;
  long answer = syscall(SYS_close_range, fds[0], fds[0], 2);
  int gone = fcntl(fds[0], F_GETFD) == -1 && errno == EBADF;
  _exit(answer == 0 && gone ? 0 : 1);
}
static char child_stack[65536];
static void descriptors(void) {
  int fds[2] = {open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY)};
  pid_t child = clone(in_shared_table, child_stack + sizeof child_stack, CLONE_FILES | SIGCHLD, fds);
  int status = -1;
  waitpid(child, &status, 0);
  result("CLOSE_RANGE_UNSHARE closes in a table of its own", status, 0);
  truth("the other one keeps it", fcntl(fds[0], F_GETFD) == 0);
  result("CLOSE_RANGE_CLOEXEC", syscall(SYS_close_range, fds[0], fds[1], 4), 0);
  result("marks", fcntl(fds[1], F_GETFD), FD_CLOEXEC);
  fails("close_range with unknown flags", syscall(SYS_close_range, fds[0], fds[1], 8), EINVAL);
  fails("close_range backwards", syscall(SYS_close_range, 5, 4, 0), EINVAL);
  result("close_range", syscall(SYS_close_range, fds[0], fds[1], 0), 0);
  fails("closes", fcntl(fds[1], F_GETFD), EBADF);
}

static void births(void) {
  write_file("born", "x");
  struct statx stx;
  result("statx", statx(AT_FDCWD, "born", 0, STATX_ALL, &stx), 0);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  truth("tells of the birth", (stx.stx_mask & STATX_BTIME) != 0 && llabs(now.tv_sec - stx.stx_btime.tv_sec) <= 5);
  unlink("born");
}

int main(void) {
  guest_begin();
  enter_scratch();
  file_size();
  stacks();
  descriptors();
  births();
  leave_scratch();
  return guest_end();
}
