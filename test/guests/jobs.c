/* Job control on a pseudo-terminal: sessions, foreground and background, SIGTTIN, SIGTTOU, orphaned groups, stopped and continued children, hanging up. */
#include "guest.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#ifndef TIOCSCTTY
#define TIOCSCTTY 0x540E
#endif

static int master;
static char slave_name[64];

static void ignore(int number) {
  (void)number;
}

/* What a process did: tests run in a session leader of their own, which tells its verdicts by its output. */
static int status_of(pid_t child, int options) {
  int status = -1;
  for (int i = 0; i < 3000; i++) {
    pid_t got = waitpid(child, &status, options | WNOHANG);
    if (got == child) return status;
    if (got < 0) return -2;
    sleep_ms(1);
  }
  return -3;
}
static void stopped(const char *name, pid_t child, int number) {
  int status = status_of(child, WUNTRACED);
  result(name, WIFSTOPPED(status) ? WSTOPSIG(status) : -status, number);
}
static void continued(const char *name, pid_t child) {
  int status = status_of(child, WCONTINUED);
  result(name, WIFCONTINUED(status), 1);
}
static void ended(const char *name, pid_t child, int code) {
  int status = status_of(child, 0);
  result(name, WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status, code);
}
static void killed(const char *name, pid_t child, int number) {
  int status = status_of(child, 0);
  result(name, WIFSIGNALED(status) ? WTERMSIG(status) : 1000 + status, number);
}
/* A child in a group of its own, in the background, which runs `body` and exits with its answer. */
static pid_t background(int (*body)(int), int slave) {
  int gate[2];
  pipe(gate);
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(gate[1]);
    setpgid(0, 0);
    read(gate[0], &byte, 1);
    close(gate[0]);
    _exit(body(slave));
  }
  setpgid(child, child);
  close(gate[0]);
  close(gate[1]);
  return child;
}

static int read_one(int slave) {
  char text[16];
  ssize_t got = read(slave, text, sizeof text);
  return got < 0 ? errno : 100 + (int)got;
}
static int read_ignoring(int slave) {
  signal(SIGTTIN, SIG_IGN);
  return read_one(slave);
}
static int read_blocking(int slave) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTTIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return read_one(slave);
}
static int read_handling(int slave) {
  struct sigaction action = {.sa_handler = ignore};
  sigaction(SIGTTIN, &action, NULL);
  return read_one(slave);
}
static int write_one(int slave) {
  return write(slave, "x", 1) == 1 ? 50 : errno;
}
static int write_ignoring(int slave) {
  signal(SIGTTOU, SIG_IGN);
  return write_one(slave);
}
static int take_foreground(int slave) {
  return tcsetpgrp(slave, getpgrp()) == 0 ? 60 : errno;
}
static int take_foreground_ignoring(int slave) {
  signal(SIGTTOU, SIG_IGN);
  return take_foreground(slave);
}
static int set_terminal(int slave) {
  struct termios settings;
  tcgetattr(slave, &settings);
  return tcsetattr(slave, TCSANOW, &settings) == 0 ? 70 : errno;
}
static int stop_itself(int slave) {
  (void)slave;
  raise(SIGTSTP);
  return 80;
}
static int other_master = -1;
static int sleep_on(int slave) {
  (void)slave;
  if (other_master >= 0) close(other_master);
  for (;;) pause();
  return 0;
}
/* Its own child stays behind in this group, without a parent in the session: the group is orphaned. */
static int leave_orphan(int slave) {
  int told[2], gate[2];
  pipe(told);
  pipe(gate);
  if (fork() == 0) {
    char byte;
    close(gate[1]);
    read(gate[0], &byte, 1);
    sleep_ms(20);
    signal(SIGTTOU, SIG_DFL);
    int answer[3];
    answer[0] = read_one(slave);
    raise(SIGTSTP);
    answer[1] = 90;
    answer[2] = tcsetpgrp(slave, getpgrp()) == 0 ? 60 : errno;
    write(told[1], answer, sizeof answer);
    _exit(0);
  }
  close(told[1]);
  if (fork() == 0) {
    close(gate[1]);
    int answer[3] = {0};
    read(told[0], answer, sizeof answer);
    char text[32];
    snprintf(text, sizeof text, "%d,%d,%d", answer[0], answer[1], answer[2]);
    write_file("orphan", text);
    _exit(0);
  }
  return 0;
}
/* A stopped child that this one leaves behind: it is told and goes on. */
static int leave_stopped(int slave) {
  (void)slave;
  struct sigaction action = {.sa_handler = ignore};
  pid_t child = fork();
  if (child == 0) {
    sigaction(SIGHUP, &action, NULL);
    raise(SIGSTOP);
    write_file("stopped", "went on");
    _exit(0);
  }
  while (!WIFSTOPPED(status_of(child, WUNTRACED))) sleep_ms(1);
  return 3;
}

static const char *eventually(const char *path) {
  for (int i = 0; i < 3000 && access(path, F_OK) != 0; i++) sleep_ms(1);
  sleep_ms(20);
  return read_file(path);
}

static int session(void) {
  int slave = open(slave_name, O_RDWR);
  truth("the leader opens the terminal", slave >= 0);
  result("and has it", tcgetsid(slave), getpid());
  result("its group is in the foreground", tcgetpgrp(slave), getpgrp());
  int controlling = open("/dev/tty", O_RDWR);
  truth("/dev/tty is the terminal", controlling >= 0);
  close(controlling);
  fails("tcsetpgrp of nobody", tcsetpgrp(slave, 4000000), ESRCH);
  fails("tcsetpgrp of another session", tcsetpgrp(slave, getppid()), EPERM);
  fails("setsid of a leader", setsid(), EPERM);
  result("TIOCSCTTY of one's own", ioctl(slave, TIOCSCTTY, 0), 0);

  pid_t child = background(read_one, slave);
  stopped("a background process reads: SIGTTIN", child, SIGTTIN);
  result("bringing it to the foreground", tcsetpgrp(slave, child), 0);
  kill(-child, SIGCONT);
  continued("it goes on", child);
  write(master, "typed\n", 6);
  ended("and reads", child, 106);
  signal(SIGTTOU, SIG_IGN);
  result("the leader takes the terminal back, SIGTTOU ignored", tcsetpgrp(slave, getpgrp()), 0);
  signal(SIGTTOU, SIG_DFL);
  tcflush(slave, TCIFLUSH);

  ended("SIGTTIN ignored: EIO", background(read_ignoring, slave), EIO);
  ended("SIGTTIN blocked: EIO", background(read_blocking, slave), EIO);
  ended("SIGTTIN with a handler: EINTR", background(read_handling, slave), EINTR);
  ended("the background may write", background(write_one, slave), 50);
  struct termios settings;
  tcgetattr(slave, &settings);
  settings.c_lflag |= TOSTOP;
  result("TOSTOP", tcsetattr(slave, TCSANOW, &settings), 0);
  child = background(write_one, slave);
  stopped("then it may not: SIGTTOU", child, SIGTTOU);
  ended("unless it ignores that", background(write_ignoring, slave), 50);
  settings.c_lflag &= ~TOSTOP;
  tcsetattr(slave, TCSANOW, &settings);
  kill(-child, SIGCONT);
  ended("without TOSTOP it goes on", child, 50);
  child = background(set_terminal, slave);
  stopped("the background changes the terminal: SIGTTOU", child, SIGTTOU);
  kill(-child, SIGKILL);
  killed("a stopped process can be killed", child, SIGKILL);
  child = background(take_foreground, slave);
  stopped("the background takes the foreground: SIGTTOU", child, SIGTTOU);
  kill(-child, SIGKILL);
  killed("killed", child, SIGKILL);
  ended("unless it ignores that", background(take_foreground_ignoring, slave), 60);
  signal(SIGTTOU, SIG_IGN);
  tcsetpgrp(slave, getpgrp());

  child = background(stop_itself, slave);
  stopped("SIGTSTP stops", child, SIGTSTP);
  result("which is told once", waitpid(child, NULL, WUNTRACED | WNOHANG), 0);
  kill(child, SIGCONT);
  siginfo_t info = {0};
  for (int i = 0; i < 1000 && info.si_pid == 0; i++) waitid(P_PID, child, &info, WCONTINUED | WEXITED | WNOWAIT | WNOHANG), sleep_ms(1);
  truth("waitid tells of going on, or of the end", info.si_code == CLD_CONTINUED || info.si_code == CLD_EXITED);
  ended("and goes on", child, 80);

  child = background(sleep_on, slave);
  tcsetpgrp(slave, child);
  sleep_ms(20);
  write(master, "\032", 1);
  stopped("^Z stops the foreground", child, SIGTSTP);
  kill(-child, SIGCONT);
  continued("SIGCONT lets it go on", child);
  write(master, "\003", 1);
  killed("^C ends the foreground", child, SIGINT);
  tcsetpgrp(slave, getpgrp());

  pid_t parent = background(leave_orphan, slave);
  ended("a process leaves its group behind", parent, 0);
  same_text("an orphaned group is not stopped: EIO, nothing, ENOTTY", eventually("orphan"), "5,90,25");
  parent = background(leave_stopped, slave);
  ended("a process leaves a stopped one behind", parent, 3);
  same_text("it gets SIGHUP and SIGCONT", eventually("stopped"), "went on");
  unlink("orphan");
  unlink("stopped");

  child = fork();
  if (child == 0) {
    int answer = tcgetpgrp(slave) == -1 && errno == ENOTTY ? 0 : 1;
    setsid();
    answer += tcgetpgrp(slave) == -1 && errno == ENOTTY ? 2 : 0;
    answer += open("/dev/tty", O_RDWR) == -1 && errno == ENXIO ? 4 : 0;
    answer += ioctl(slave, TIOCSCTTY, 0) == -1 && errno == EPERM ? 8 : 0;
    _exit(answer);
  }
  ended("another session has no part in it", child, 1 + 2 + 4 + 8);
  child = fork();
  if (child == 0) {
    int answer = ioctl(slave, TIOCNOTTY) == 0 ? 1 : 0;
    answer += open("/dev/tty", O_RDWR) == -1 && errno == ENXIO ? 2 : 0;
    _exit(answer);
  }
  ended("a process can give it up for itself", child, 3);
  result("the session keeps it", tcgetsid(slave), getpid());

  child = background(sleep_on, slave);
  tcsetpgrp(slave, child);
  signal(SIGHUP, SIG_DFL);
  result("TIOCNOTTY of the leader", ({ signal(SIGHUP, SIG_IGN); ioctl(slave, TIOCNOTTY); }), 0);
  killed("tells the foreground", child, SIGHUP);
  fails("nobody has it", tcgetpgrp(slave), ENOTTY);
  result("TIOCSCTTY takes it again", ioctl(slave, TIOCSCTTY, 0), 0);
  close(slave);
  return guest_failures;
}

static int hung_up(void) {
  other_master = posix_openpt(O_RDWR | O_NOCTTY);
  grantpt(other_master);
  unlockpt(other_master);
  int fd = open(ptsname(other_master), O_RDWR);
  pid_t job = background(sleep_on, fd);
  signal(SIGHUP, ignore);
  signal(SIGTTOU, SIG_IGN);
  tcsetpgrp(fd, job);
  close(other_master);
  sleep_ms(50);
  char text[4];
  int answer = read(fd, text, 4) == 0 ? 1 : 0;
  answer += write(fd, "x", 1) == -1 && errno == EIO ? 2 : 0;
  answer += waitpid(job, NULL, WNOHANG) == 0 ? 4 : 0;
  char number[16];
  snprintf(number, sizeof number, "%d", job);
  write_file("job", number);
  return answer;
}

int main(void) {
  guest_begin();
  alarm(50);
  enter_scratch();
  master = posix_openpt(O_RDWR | O_NOCTTY);
  result("grantpt and unlockpt", grantpt(master) + unlockpt(master), 0);
  snprintf(slave_name, sizeof slave_name, "%s", ptsname(master));
  int other = open(slave_name, O_RDWR | O_NOCTTY);
  fails("a terminal of nobody has no group", tcgetpgrp(other), ENOTTY);
  close(other);
  pid_t leader = fork();
  if (leader == 0) {
    setsid();
    _exit(session());
  }
  ended("the session", leader, 0);
  leader = fork();
  if (leader == 0) {
    setsid();
    _exit(hung_up());
  }
  ended("the master closes: reads end, writes are EIO, the foreground lives", leader, 7);
  int job = atoi(read_file("job"));
  for (int i = 0; i < 3000 && kill(job, 0) == 0; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", job);
    const char *text = read_file(path);
    const char *end = strrchr(text, ')');
    if (end != NULL && end[2] == 'Z') break;
    sleep_ms(1);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", job);
  const char *text = read_file(path);
  const char *end = strrchr(text, ')');
  truth("until the leader ends", kill(job, 0) == -1 || (end != NULL && end[2] == 'Z'));
  unlink("job");
  leave_scratch();
  return guest_end();
}
