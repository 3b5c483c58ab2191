/* sigaction with siginfo, masks, sigaltstack, SA_RESTART, SIGSEGV handlers, setitimer, queued signals, sigwait, siglongjmp. */
#include "guest.h"
#include <math.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile sig_atomic_t count, last, code, from, value, on_stack, order[8];
static volatile uintptr_t address;
static char *alternate;

static void plain(int number) {
  if (count < 8) order[count] = number;
  count++;
  last = number;
}
static void detailed(int number, siginfo_t *info, void *context) {
  char here;
  (void)context;
  count++;
  last = number;
  code = info->si_code;
  from = info->si_pid;
  value = info->si_value.sival_int;
  address = (uintptr_t)info->si_addr;
  on_stack = &here >= alternate && &here < alternate + 65536;
}
static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(number, &action, NULL);
}
static void handle_info(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
  sigaction(number, &action, NULL);
}
static void block(int how, int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  sigprocmask(how, &set, NULL);
}

static volatile int nested_mask;
static void look_at_mask(int number) {
  sigset_t set;
  sigprocmask(SIG_BLOCK, NULL, &set);
  nested_mask = sigismember(&set, number) | sigismember(&set, SIGUSR2) << 1 | sigismember(&set, SIGHUP) << 2;
}
static volatile int depth, deepest;
static void again(int number) {
  depth++;
  if (depth > deepest) deepest = depth;
  if (depth < 3) raise(number);
  depth--;
}

static sigjmp_buf environment;
static void jump(int number, siginfo_t *info, void *context) {
  (void)context;
  last = number;
  code = info->si_code;
  address = (uintptr_t)info->si_addr;
  siglongjmp(environment, 1);
}
static char *page;
static void repair(int number, siginfo_t *info, void *context) {
  (void)context;
  count++;
  last = number;
  code = info->si_code;
  address = (uintptr_t)info->si_addr;
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
}
/* Steps over the faulting instruction: what a managed runtime does. */
static volatile int skipped;
static void skip(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  ucontext_t *state = context;
  skipped++;
#if defined(__riscv)
  unsigned long pc = state->uc_mcontext.__gregs[REG_PC];
  state->uc_mcontext.__gregs[REG_PC] = pc + ((*(unsigned short *)pc & 3) == 3 ? 4 : 2);
  state->uc_mcontext.__gregs[REG_A0] = 4711;
#else
  state->uc_mcontext.gregs[REG_RIP] += 2;
  state->uc_mcontext.gregs[REG_RAX] = 4711;
#endif
}

static volatile double kept_double;
static void spoil_registers(int number) {
  (void)number;
  kept_double = sqrt(kept_double) * 3.25 + 1;
  count++;
}

int main(void) {
  guest_begin();
  struct sigaction action, old;
  sigset_t set, was;
  alternate = malloc(65536);

  handle(SIGUSR1, plain, 0);
  result("raise", raise(SIGUSR1), 0);
  truth("runs the handler", count == 1 && last == SIGUSR1);
  kill(getpid(), SIGUSR1);
  result("kill of itself runs it before it returns", count, 2);
  sigaction(SIGUSR1, NULL, &old);
  truth("sigaction tells the handler", old.sa_handler == plain);
  fails("sigaction of a bad signal", syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
  memset(&action, 0, sizeof action);
  fails("sigaction of SIGKILL", sigaction(SIGKILL, &action, NULL), EINVAL);
  fails("sigaction of SIGSTOP", sigaction(SIGSTOP, &action, NULL), EINVAL);
  fails("rt_sigaction with a bad size", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
  fails("rt_sigaction with a bad pointer", syscall(SYS_rt_sigaction, SIGUSR1, BAD_POINTER, NULL, 8), EFAULT);
  handle_info(SIGUSR1, detailed, 0);
  kill(getpid(), SIGUSR1);
  truth("siginfo of kill", code == SI_USER && from == getpid());
  raise(SIGUSR1);
  truth("siginfo of raise", code == SI_TKILL && from == getpid());
  union sigval with = {.sival_int = 321};
  sigqueue(getpid(), SIGUSR1, with);
  truth("siginfo of sigqueue", code == SI_QUEUE && value == 321);

  count = 0;
  handle(SIGUSR1, plain, 0);
  handle(SIGUSR2, plain, 0);
  block(SIG_BLOCK, SIGUSR1);
  raise(SIGUSR1);
  raise(SIGUSR1);
  result("a blocked signal waits", count, 0);
  sigpending(&set);
  truth("sigpending", sigismember(&set, SIGUSR1) && !sigismember(&set, SIGUSR2));
  block(SIG_UNBLOCK, SIGUSR1);
  result("and comes once when unblocked", count, 1);
  count = 0;
  handle_info(SIGRTMIN, detailed, 0);
  block(SIG_BLOCK, SIGRTMIN);
  for (int i = 1; i <= 3; i++) {
    with.sival_int = i;
    sigqueue(getpid(), SIGRTMIN, with);
  }
  block(SIG_UNBLOCK, SIGRTMIN);
  truth("real-time signals queue in order", count == 3 && value == 3);
  sigfillset(&set);
  result("blocking all", sigprocmask(SIG_SETMASK, &set, &was), 0);
  sigprocmask(SIG_SETMASK, NULL, &set);
  truth("never blocks SIGKILL and SIGSTOP", !sigismember(&set, SIGKILL) && !sigismember(&set, SIGSTOP) && sigismember(&set, SIGTERM));
  count = 0;
  raise(SIGUSR2);
  raise(SIGUSR1);
  sigprocmask(SIG_SETMASK, &was, NULL);
  truth("several pending signals all come", count == 2);
  fails("sigprocmask with a bad how", syscall(SYS_rt_sigprocmask, 77, &was, NULL, 8), EINVAL);
  fails("rt_sigprocmask with a bad size", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, 16), EINVAL);
  fails("rt_sigprocmask with a bad pointer", syscall(SYS_rt_sigprocmask, SIG_SETMASK, BAD_POINTER, NULL, 8), EFAULT);

  memset(&action, 0, sizeof action);
  action.sa_handler = look_at_mask;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  result("the mask while a handler runs", nested_mask, 3);
  sigprocmask(SIG_BLOCK, NULL, &set);
  truth("is undone afterwards", !sigismember(&set, SIGUSR1) && !sigismember(&set, SIGUSR2));
  handle(SIGUSR1, again, SA_NODEFER);
  raise(SIGUSR1);
  result("SA_NODEFER nests", deepest, 3);
  handle(SIGUSR1, plain, SA_RESETHAND);
  raise(SIGUSR1);
  sigaction(SIGUSR1, NULL, &old);
  truth("SA_RESETHAND", old.sa_handler == SIG_DFL);

  stack_t stack = {.ss_sp = alternate, .ss_size = 65536, .ss_flags = 0}, told;
  result("sigaltstack", sigaltstack(&stack, NULL), 0);
  sigaltstack(NULL, &told);
  truth("is told", told.ss_sp == alternate && told.ss_size == 65536 && told.ss_flags == 0);
  handle_info(SIGUSR1, detailed, SA_ONSTACK);
  raise(SIGUSR1);
  truth("SA_ONSTACK", on_stack == 1);
  handle_info(SIGUSR1, detailed, 0);
  raise(SIGUSR1);
  truth("without SA_ONSTACK", on_stack == 0);
  stack.ss_size = 100;
  fails("a small alternate stack", sigaltstack(&stack, NULL), ENOMEM);
  stack.ss_size = 65536;
  stack.ss_flags = 77;
  fails("sigaltstack with a bad flag", sigaltstack(&stack, NULL), EINVAL);
  stack.ss_flags = SS_DISABLE;
  result("SS_DISABLE", sigaltstack(&stack, NULL), 0);

  page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  count = 0;
  handle_info(SIGSEGV, repair, 0);
  *(volatile char *)(page + 100) = 9;
  truth("a SIGSEGV handler repairs and the store is done again", count == 1 && page[100] == 9);
  truth("its code and address", code == SEGV_ACCERR && address == (uintptr_t)(page + 100));
  mprotect(page, 4096, PROT_NONE);
  count = 0;
  truth("a load from a protected page", *(volatile char *)(page + 100) == 9 && count == 1);
  handle_info(SIGSEGV, jump, 0);
  if (sigsetjmp(environment, 1) == 0) *(volatile int *)(intptr_t)0x20 = 1;
  truth("siglongjmp out of a SIGSEGV handler", last == SIGSEGV && code == SEGV_MAPERR && address == 0x20);
  last = 0;
  if (sigsetjmp(environment, 1) == 0) *(volatile int *)(intptr_t)0x20 = 1;
  result("and a second time", last, SIGSEGV);
  last = 0;
  if (sigsetjmp(environment, 1) == 0) {
    munmap(page, 4096);
    *(volatile char *)page = 1;
  }
  truth("a store to an unmapped page", last == SIGSEGV && code == SEGV_MAPERR && address == (uintptr_t)page);
  last = 0;
  if (sigsetjmp(environment, 1) == 0) ((void (*)(void))(intptr_t)0x20)();
  result("a jump to nowhere", last, SIGSEGV);
  signal(SIGSEGV, SIG_DFL);
  handle_info(SIGTRAP, jump, 0);
  last = 0;
  if (sigsetjmp(environment, 1) == 0) {
#if defined(__riscv)
    __asm__ volatile("ebreak");
#else
    __asm__ volatile("int3");
#endif
  }
  result("a breakpoint", last, SIGTRAP);
  handle_info(SIGILL, skip, 0);
  register long answer;
#if defined(__riscv)
  __asm__ volatile("li a0, 1\n.4byte 0xffffffff\nmv %0, a0" : "=r"(answer) : : "a0");
#else
  __asm__ volatile("movl $1, %%eax\nud2\nmov %%rax, %0" : "=r"(answer) : : "rax");
#endif
  truth("a handler changes pc and registers", skipped == 1 && answer == 4711);

  handle(SIGUSR1, spoil_registers, 0);
  count = 0;
  kept_double = 16;
  volatile double base = 1.5;
  double a = base * 2, b = base * 3, c = base * 5;
  raise(SIGUSR1);
  truth("floating-point registers outlive a handler", a == 3 && b == 4.5 && c == 7.5 && count == 1);

  handle(SIGALRM, plain, 0);
  count = 0;
  struct itimerval once = {{0, 0}, {0, 20000}}, off = {{0, 0}, {0, 0}}, rest;
  double before = now_ms();
  result("setitimer", setitimer(ITIMER_REAL, &once, NULL), 0);
  fails("pause", pause(), EINTR);
  between("until the alarm", now_ms() - before, 15, 2000);
  result("came once", count, 1);
  struct itimerval repeat = {{0, 10000}, {0, 10000}};
  count = 0;
  setitimer(ITIMER_REAL, &repeat, NULL);
  while (count < 4) pause();
  getitimer(ITIMER_REAL, &rest);
  truth("an interval timer repeats", rest.it_interval.tv_usec == 10000);
  setitimer(ITIMER_REAL, &off, NULL);
  getitimer(ITIMER_REAL, &rest);
  truth("and stops", rest.it_value.tv_sec == 0 && rest.it_value.tv_usec == 0);
  fails("setitimer of a bad timer", setitimer(9, &off, NULL), EINVAL);
  once.it_value.tv_usec = 1000000;
  fails("setitimer with a bad time", setitimer(ITIMER_REAL, &once, NULL), EINVAL);
  result("alarm", alarm(100), 0);
  result("alarm tells the rest", alarm(0), 100);
  count = 0;
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 5000}}, NULL);
  for (volatile unsigned long spin = 0; count == 0 && spin < 4000000000ul; spin++) {
  }
  result("an alarm interrupts a loop that makes no system calls", count, 1);

  int p[2];
  char byte;
  pipe(p);
  handle(SIGALRM, plain, 0);
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 10000}}, NULL);
  fails("a read without SA_RESTART", read(p[0], &byte, 1), EINTR);
  handle(SIGALRM, plain, SA_RESTART);
  pid_t child = fork();
  if (child == 0) {
    sleep_ms(50);
    write(p[1], "r", 1);
    _exit(0);
  }
  count = 0;
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 10000}}, NULL);
  result("a read with SA_RESTART goes on", read(p[0], &byte, 1), 1);
  truth("after the handler", count == 1 && byte == 'r');
  while (waitpid(child, NULL, 0) < 0) {
  }
  struct timespec time = {1, 0}, left = {0, 0};
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 10000}}, NULL);
  fails("nanosleep is never restarted", nanosleep(&time, &left), EINTR);
  truth("and tells the rest", left.tv_sec == 0 && left.tv_nsec > 500000000);

  handle(SIGUSR1, plain, 0);
  block(SIG_BLOCK, SIGUSR1);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  raise(SIGUSR1);
  siginfo_t info;
  memset(&info, 0, sizeof info);
  result("sigwaitinfo", sigwaitinfo(&set, &info), SIGUSR1);
  truth("tells", info.si_signo == SIGUSR1 && info.si_pid == getpid());
  struct timespec shortly = {0, 10000000};
  fails("sigtimedwait", sigtimedwait(&set, NULL, &shortly), EAGAIN);
  child = fork();
  if (child == 0) {
    sleep_ms(20);
    kill(getppid(), SIGUSR1);
    _exit(0);
  }
  int number = 0;
  result("sigwait", sigwait(&set, &number), 0);
  result("gets the signal of a child", number, SIGUSR1);
  waitpid(child, NULL, 0);
  count = 0;
  raise(SIGUSR1);
  sigemptyset(&set);
  fails("sigsuspend", sigsuspend(&set), EINTR);
  result("ran the handler", count, 1);
  sigprocmask(SIG_BLOCK, NULL, &was);
  truth("and put the mask back", sigismember(&was, SIGUSR1));

  count = 0;
  signal(SIGWINCH, SIG_DFL);
  raise(SIGWINCH);
  raise(SIGURG);
  guest_ok("signals that do nothing by default");
  child = fork();
  if (child == 0) {
    signal(SIGTERM, SIG_IGN);
    raise(SIGTERM);
    alarm(1);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 10000}}, NULL);
    signal(SIGALRM, SIG_DFL);
    for (;;) pause();
  }
  int status = 0;
  waitpid(child, &status, 0);
  truth("SIGALRM ends by default", WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
  child = fork();
  if (child == 0) {
    /* A blocked fault of its own ends a process in spite of the handler. */
    handle_info(SIGSEGV, jump, 0);
    block(SIG_BLOCK, SIGSEGV);
    *(volatile int *)(intptr_t)0x20 = 1;
    _exit(0);
  }
  waitpid(child, &status, 0);
  truth("a blocked SIGSEGV ends", WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  fails("tgkill with a bad group", syscall(SYS_tgkill, -1, 1, 0), EINVAL);
  fails("tgkill of a stranger", syscall(SYS_tgkill, getpid(), 999999, 0), ESRCH);
  return guest_end();
}
