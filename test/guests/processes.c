/* fork, execve, wait4, waitid, exit codes, orphans, process groups, sessions, close-on-exec, vfork, signals to children. */
#include "guest.h"
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <termios.h>

extern char **environ;
static const char *self;

static int run_self(char *const arguments[], char *const environment[]) {
  pid_t child = fork();
  if (child == 0) {
    execve(self, arguments, environment);
    _exit(errno);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

/* What this program does when it was started by itself. */
static int started_again(int argc, char **argv) {
  if (strcmp(argv[1], "exit") == 0) return atoi(argv[2]);
  if (strcmp(argv[1], "arguments") == 0) {
    int bad = argc != 5 || strcmp(argv[2], "two words") != 0 || argv[3][0] != 0 || strcmp(argv[4], "\xc3\xa9") != 0;
    bad = bad || getenv("ONLY") == NULL || strcmp(getenv("ONLY"), "this=that") != 0 || environ[1] != NULL;
    return bad;
  }
  if (strcmp(argv[1], "descriptors") == 0) return (fcntl(atoi(argv[2]), F_GETFD) >= 0 ? 1 : 0) | (fcntl(atoi(argv[3]), F_GETFD) >= 0 ? 2 : 0);
  if (strcmp(argv[1], "signals") == 0) {
    struct sigaction action;
    sigset_t mask;
    int code = 0;
    sigaction(SIGUSR1, NULL, &action);
    code |= action.sa_handler == SIG_DFL ? 0 : 1;
    sigaction(SIGUSR2, NULL, &action);
    code |= action.sa_handler == SIG_IGN ? 0 : 2;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    code |= sigismember(&mask, SIGHUP) ? 0 : 4;
    sigpending(&mask);
    code |= sigismember(&mask, SIGHUP) ? 0 : 8;
    return code;
  }
  if (strcmp(argv[1], "pid") == 0) return getpid() == atoi(argv[2]) ? 0 : 1;
  return 99;
}

static void exits(void) {
  int status;
  int codes[] = {0, 1, 42, 255};
  for (int i = 0; i < 4; i++) {
    pid_t child = fork();
    if (child == 0) _exit(codes[i]);
    status = -1;
    pid_t got = waitpid(child, &status, 0);
    char name[64];
    snprintf(name, sizeof name, "exit code %d", codes[i]);
    truth(name, got == child && WIFEXITED(status) && WEXITSTATUS(status) == codes[i]);
  }
  pid_t child = fork();
  if (child == 0) _exit(256 + 7);
  waitpid(child, &status, 0);
  result("only 8 bits of an exit code", status, 7 << 8);
  child = fork();
  if (child == 0) {
    raise(SIGKILL);
    _exit(0);
  }
  waitpid(child, &status, 0);
  truth("killed by a signal", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  child = fork();
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    abort();
  }
  waitpid(child, &status, 0);
  truth("abort", WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  child = fork();
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    *(volatile int *)BAD_POINTER = 1;
    _exit(0);
  }
  waitpid(child, &status, 0);
  truth("a wild store", WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  child = fork();
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
#if defined(__riscv)
    __asm__ volatile(".4byte 0");
#else
    __asm__ volatile("ud2");
#endif
    _exit(0);
  }
  waitpid(child, &status, 0);
  truth("an illegal instruction", WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
  fails("wait without children", waitpid(-1, &status, 0), ECHILD);
  fails("wait for a stranger", waitpid(1, &status, WNOHANG), ECHILD);
  fails("wait with a bad option", waitpid(-1, &status, 0x100), EINVAL);
}

static void forks(void) {
  int status, p[2];
  volatile int variable = 1;
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    int code = (getpid() != parent ? 0 : 1) | (getppid() == parent ? 0 : 2) | (variable == 1 ? 0 : 4);
    variable = 2;
    _exit(code);
  }
  waitpid(child, &status, 0);
  result("a child's pid, parent and memory", status, 0);
  result("the child's store is its own", variable, 1);
  result("WNOHANG of a running child", ({
           pipe(p);
           child = fork();
           if (child == 0) {
             char byte;
             close(p[1]);
             read(p[0], &byte, 1);
             _exit(3);
           }
           waitpid(child, &status, WNOHANG);
         }),
         0);
  result("kill 0 of a child", kill(child, 0), 0);
  close(p[0]);
  close(p[1]);
  result("then it ends", waitpid(child, &status, 0), child);
  result("with its code", status, 3 << 8);
  fails("kill of a process that is gone", kill(child, 0), ESRCH);

  char *shared = malloc(1 << 20);
  memset(shared, 7, 1 << 20);
  pid_t children[8];
  for (int i = 0; i < 8; i++) {
    children[i] = fork();
    if (children[i] == 0) {
      memset(shared, i, 1 << 20);
      int bad = 0;
      for (int at = 0; at < 1 << 20; at += 4096) bad |= shared[at] != i;
      _exit(bad ? 100 : i);
    }
  }
  int sum = 0;
  for (int i = 0; i < 8; i++) {
    waitpid(children[i], &status, 0);
    sum += WEXITSTATUS(status);
  }
  result("eight children with memory of their own", sum, 28);
  int kept = 1;
  for (int at = 0; at < 1 << 20; at += 4096) kept = kept && shared[at] == 7;
  truth("the parent's memory is kept", kept);
  free(shared);
  for (int i = 0; i < 3; i++)
    if (fork() == 0) _exit(i);
  int seen = 0;
  while (waitpid(-1, &status, 0) > 0) seen |= 1 << WEXITSTATUS(status);
  result("wait for any child", seen, 7);
  fails("until none is left", waitpid(-1, &status, 0), ECHILD);

  pipe(p);
  child = fork();
  if (child == 0) {
    if (fork() == 0) {
      if (fork() == 0) _exit(write(p[1], "grand", 5) == 5 ? 0 : 1);
      int s;
      wait(&s);
      _exit(s);
    }
    int s;
    wait(&s);
    _exit(s);
  }
  waitpid(child, &status, 0);
  char text[16] = "";
  read(p[0], text, sizeof text);
  same_text("grandchildren", text, "grand");

  child = vfork();
  if (child == 0) {
    variable = 5;
    _exit(6);
  }
  result("vfork's child comes first and shares memory", variable, 5);
  waitpid(child, &status, 0);
  result("and its code", status, 6 << 8);
  close(p[0]);
  close(p[1]);
  struct rusage usage;
  child = fork();
  if (child == 0) _exit(0);
  result("wait4 with usage", wait4(child, &status, 0, &usage), child);
  siginfo_t info;
  child = fork();
  if (child == 0) _exit(9);
  memset(&info, 0, sizeof info);
  result("waitid WNOWAIT", waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  truth("tells of the child", info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 9 && info.si_signo == SIGCHLD);
  result("and leaves it", waitpid(child, &status, 0), child);
  fails("waitid without an event", waitid(P_ALL, 0, &info, 0), EINVAL);
  child = fork();
  if (child == 0)
    for (;;) pause();
  kill(child, SIGSTOP);
  result("a stopped child", waitpid(child, &status, WUNTRACED), child);
  truth("is told of", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  kill(child, SIGCONT);
  result("a continued child", waitpid(child, &status, WCONTINUED), child);
  truth("is told of too", WIFCONTINUED(status));
  kill(child, SIGTERM);
  waitpid(child, &status, 0);
  truth("then ended", WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void executes(void) {
  char *nothing[] = {NULL};
  char *arguments[] = {"again", "exit", "23", NULL};
  result("execve", run_self(arguments, nothing), 23 << 8);
  char *words[] = {"again", "arguments", "two words", "", "\xc3\xa9", NULL};
  char *environment[] = {"ONLY=this=that", NULL};
  result("its arguments and environment", run_self(words, environment), 0);
  int keep = open("/dev/null", O_RDONLY), drop = open("/dev/null", O_RDONLY | O_CLOEXEC);
  char first[16], second[16];
  snprintf(first, sizeof first, "%d", keep);
  snprintf(second, sizeof second, "%d", drop);
  char *descriptors[] = {"again", "descriptors", first, second, NULL};
  result("close-on-exec", run_self(descriptors, nothing), 1 << 8);
  close(keep);
  close(drop);
  pid_t child = fork();
  if (child == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, (void (*)(int))exit);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGHUP);
    char *signals[] = {"again", "signals", NULL};
    execve(self, signals, nothing);
    _exit(99);
  }
  int status = -1;
  waitpid(child, &status, 0);
  result("handlers, ignored, blocked and pending signals over execve", status, 0);
  child = fork();
  if (child == 0) {
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    char *same[] = {"again", "pid", pid, NULL};
    execve(self, same, nothing);
    _exit(99);
  }
  waitpid(child, &status, 0);
  result("execve keeps the pid", status, 0);
  fails("execve of a missing file", execve("/no/such", arguments, nothing), ENOENT);
  fails("execve of a folder", execve("/tmp", arguments, nothing), EACCES);
  char file[] = "/tmp/guest-exec-XXXXXX";
  int fd = mkstemp(file);
  fails("execve of a file without an x bit", execve(file, arguments, nothing), EACCES);
  write(fd, "junk junk junk", 14);
  fchmod(fd, 0755);
  close(fd);
  fails("execve of junk", execve(file, arguments, nothing), ENOEXEC);
  fails("execve with a bad pointer", execve(BAD_POINTER, arguments, nothing), EFAULT);
  fd = open(file, O_WRONLY | O_TRUNC);
  dprintf(fd, "#!%s exit\n", self);
  close(fd);
  /* The interpreter gets: its path, "exit", the script's path. atoi of that path is 0. */
  child = fork();
  if (child == 0) {
    char *script[] = {"ignored", "more", NULL};
    execve(file, script, nothing);
    _exit(98);
  }
  waitpid(child, &status, 0);
  result("a script names its interpreter", status, 0);
  unlink(file);
  pid_t spawned = 0;
  char *spawn[] = {"again", "exit", "5", NULL};
  result("posix_spawn", posix_spawn(&spawned, self, NULL, NULL, spawn, nothing), 0);
  waitpid(spawned, &status, 0);
  result("its code", status, 5 << 8);
  result("posix_spawn of a missing file", posix_spawn(&spawned, "/no/such", NULL, NULL, spawn, nothing), ENOENT);
}

static volatile int child_signals, child_code, child_status;
static void on_child(int number, siginfo_t *info, void *context) {
  (void)context;
  child_signals += number == SIGCHLD;
  child_code = info->si_code;
  child_status = info->si_status;
}

static void groups(void) {
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO};
  sigaction(SIGCHLD, &action, NULL);
  pid_t child = fork();
  if (child == 0) _exit(11);
  int status;
  while (waitpid(child, &status, 0) == -1 && errno == EINTR) {
  }
  truth("SIGCHLD tells of an end", child_signals == 1 && child_code == CLD_EXITED && child_status == 11);
  signal(SIGCHLD, SIG_IGN);
  child = fork();
  if (child == 0) _exit(11);
  fails("an ignored SIGCHLD reaps", waitpid(child, &status, 0), ECHILD);
  signal(SIGCHLD, SIG_DFL);

  result("getpgid of itself", getpgid(0), getpgrp());
  fails("getpgid of a stranger", getpgid(999999), ESRCH);
  fails("getsid of a stranger", getsid(999999), ESRCH);
  int p[2];
  pipe(p);
  child = fork();
  if (child == 0) {
    char byte;
    int code = setpgid(0, 0) == 0 && getpgrp() == getpid() ? 0 : 1;
    write(p[1], "x", 1);
    code |= setsid() == -1 && errno == EPERM ? 0 : 2;
    if (code != 0) _exit(code);
    for (;;) pause();
    read(p[0], &byte, 1);
  }
  char byte;
  read(p[0], &byte, 1);
  result("a group of its own", getpgid(child), child);
  sleep_ms(20);
  result("kill of a group", kill(-child, SIGINT), 0);
  waitpid(child, &status, 0);
  truth("ends its members", WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  child = fork();
  if (child == 0) _exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 1);
  waitpid(child, &status, 0);
  result("setsid", status, 0);
  fails("setpgid of a stranger", setpgid(999999, 0), ESRCH);
  fails("setpgid to a negative group", setpgid(0, -1), EINVAL);
  fails("kill with a bad signal", kill(getpid(), 65), EINVAL);
  fails("kill of a stranger", kill(999999, 0), ESRCH);

  pipe(p);
  child = fork();
  if (child == 0) {
    pid_t middle = getpid();
    if (fork() == 0) {
      while (getppid() == middle) sleep_ms(5);
      write(p[1], "o", 1);
      _exit(0);
    }
    _exit(0);
  }
  waitpid(child, &status, 0);
  result("an orphan gets another parent", read(p[0], &byte, 1), 1);
  close(p[0]);
  close(p[1]);
  result("PR_SET_NAME", prctl(PR_SET_NAME, "a-long-name-that-is-cut", 0, 0, 0), 0);
  char name[17] = "";
  prctl(PR_GET_NAME, name, 0, 0, 0);
  same_text("PR_GET_NAME", name, "a-long-name-tha");
  result("PR_SET_PDEATHSIG", prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0), 0);
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
  result("PR_GET_PDEATHSIG", death, SIGTERM);
  prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  fails("prctl with a bad option", prctl(123456, 0, 0, 0, 0), EINVAL);
}

static void from_stdio(void) {
  FILE *stream = popen("exit 4", "r");
  if (stream == NULL || access("/bin/sh", X_OK) != 0) {
    /* An image without a shell: popen's child says 127. */
    if (stream != NULL) pclose(stream);
    guest_ok("popen");
    return;
  }
  result("popen", pclose(stream), 4 << 8);
}

static void at_end(void) {
  printf("atexit: ok\n");
}

int main(int argc, char **argv) {
  if (argc > 1) return started_again(argc, argv);
  guest_begin();
  static char path[256];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  self = path;
  exits();
  forks();
  executes();
  groups();
  from_stdio();
  atexit(at_end);
  return guest_end();
}
