/* User and group ids, umask, resource limits, uname, getrandom, sysinfo, scheduling, host name, auxiliary vector, unknown calls. */
#include "guest.h"
#include <grp.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static int in_child(int (*run)(void)) {
  pid_t child = fork();
  if (child == 0) _exit(run());
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

static int drop_user(void) {
  uid_t real, effective, saved;
  int code = 0;
  if (setgroups(2, (gid_t[]){5, 6}) != 0) code |= 1;
  gid_t groups[8];
  if (getgroups(8, groups) != 2 || groups[0] != 5 || groups[1] != 6) code |= 2;
  if (setgid(100) != 0 || getgid() != 100 || getegid() != 100) code |= 4;
  if (setuid(1000) != 0) code |= 8;
  if (getresuid(&real, &effective, &saved) != 0 || real != 1000 || effective != 1000 || saved != 1000) code |= 16;
  if (setuid(0) != -1 || errno != EPERM) code |= 32;
  if (setgroups(0, NULL) != -1 || errno != EPERM) code |= 64;
  if (open("/root-only", O_CREAT | O_WRONLY, 0600) != -1 || errno != EACCES) code |= 128;
  return code;
}
static int limited_files(void) {
  chdir("/tmp");
  int fd = open("identity-private", O_CREAT | O_WRONLY | O_TRUNC, 0640);
  int code = 0;
  write(fd, "x", 1);
  close(fd);
  setgroups(0, NULL);
  setgid(100);
  setuid(1000);
  if (open("identity-private", O_RDONLY) != -1 || errno != EACCES) code |= 1;
  if (access("identity-private", R_OK) != -1 || errno != EACCES) code |= 2;
  if (chmod("identity-private", 0777) != -1 || errno != EPERM) code |= 4;
  if (chown("identity-private", 1000, 100) != -1 || errno != EPERM) code |= 8;
  if (unlink("identity-private") != -1 || errno != EPERM) code |= 16;
  if (kill(getppid(), 0) != -1 || errno != EPERM) code |= 32;
  int own = open("identity-own", O_CREAT | O_WRONLY | O_EXCL, 0600);
  struct stat st;
  if (own < 0 || fstat(own, &st) != 0 || st.st_uid != 1000 || st.st_gid != 100) code |= 64;
  if (unlink("identity-own") != 0) code |= 128;
  return code;
}
static int temporary_user(void) {
  int code = 0;
  if (seteuid(1000) != 0 || geteuid() != 1000 || getuid() != 0) code |= 1;
  if (seteuid(0) != 0 || geteuid() != 0) code |= 2;
  if (setresuid(-1, 1001, -1) != 0 || geteuid() != 1001) code |= 4;
  if (setreuid(-1, 0) != 0 || geteuid() != 0) code |= 8;
  return code;
}
static int few_files(void) {
  struct rlimit limit = {10, 20};
  int code = 0, opened = 0;
  close_range(3, ~0u, 0);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) code |= 1;
  while (dup(0) >= 0) opened++;
  if (errno != EMFILE) code |= 2;
  for (int fd = 3; fd < 10; fd++)
    if (fcntl(fd, F_GETFD) < 0) code |= 4;
  if (fcntl(10, F_GETFD) >= 0) code |= 8;
  limit.rlim_cur = 21;
  if (setrlimit(RLIMIT_NOFILE, &limit) != -1 || errno != EINVAL) code |= 16;
  return code;
}

int main(void) {
  guest_begin();
  result("getuid", getuid(), 0);
  result("geteuid", geteuid(), 0);
  result("getgid", getgid(), 0);
  result("users, groups and their loss", in_child(drop_user), 0);
  result("files of others", in_child(limited_files), 0);
  unlink("/tmp/identity-private");
  result("a user for a while", in_child(temporary_user), 0);
  fails("getgroups of a negative size", getgroups(-1, NULL), EINVAL);
  umask(027);
  result("umask tells the old one", umask(022), 027);

  struct rlimit limit;
  result("getrlimit", getrlimit(RLIMIT_NOFILE, &limit), 0);
  truth("a limit of descriptors", limit.rlim_cur >= 256 && limit.rlim_cur <= limit.rlim_max);
  result("getrlimit of the stack", getrlimit(RLIMIT_STACK, &limit), 0);
  truth("its limit", limit.rlim_cur >= 1 << 20);
  fails("getrlimit of a bad resource", syscall(SYS_prlimit64, 0, 99, NULL, &limit), EINVAL);
  fails("prlimit of a stranger", prlimit(999999, RLIMIT_NOFILE, NULL, &limit), ESRCH);
  result("a limit of descriptors holds", in_child(few_files), 0);
  struct utsname name;
  result("uname", uname(&name), 0);
  same_text("the system's name", name.sysname, "Linux");
  truth("a release", name.release[0] >= '4' && name.release[0] <= '9');
  truth("a machine", strlen(name.machine) > 0);
  char host[256];
  result("gethostname", gethostname(host, sizeof host), 0);
  same_text("is uname's", host, name.nodename);
  fails("uname to a bad pointer", syscall(SYS_uname, BAD_POINTER), EFAULT);

  unsigned char a[32] = {0}, b[32] = {0};
  result("getrandom", getrandom(a, sizeof a, 0), 32);
  result("getrandom nonblocking", getrandom(b, sizeof b, GRND_NONBLOCK), 32);
  truth("gives different bytes", memcmp(a, b, 32) != 0);
  fails("getrandom with a bad flag", getrandom(a, 1, 0x100), EINVAL);
  fails("getrandom to a bad pointer", getrandom(BAD_POINTER, 16, 0), EFAULT);
  struct sysinfo info;
  result("sysinfo", sysinfo(&info), 0);
  truth("memory and processes", info.totalram > 0 && info.freeram <= info.totalram && info.procs >= 1 && info.mem_unit > 0 && info.uptime >= 0);
  truth("the number of processors", sysconf(_SC_NPROCESSORS_ONLN) >= 1);
  result("getpriority", getpriority(PRIO_PROCESS, 0), 0);
  result("setpriority", setpriority(PRIO_PROCESS, 0, 5), 0);
  result("is told", getpriority(PRIO_PROCESS, 0), 5);
  result("sched_getscheduler", sched_getscheduler(0), SCHED_OTHER);
  result("sched_yield", sched_yield(), 0);
  result("AT_PAGESZ", getauxval(AT_PAGESZ), 4096);
  truth("AT_RANDOM", getauxval(AT_RANDOM) != 0);
  truth("AT_EXECFN", getauxval(AT_EXECFN) != 0 && strstr((char *)getauxval(AT_EXECFN), "identity") != NULL);
  result("AT_SECURE", getauxval(AT_SECURE), 0);
  result("AT_UID", getauxval(AT_UID), 0);
  fails("an unknown system call", syscall(9999), ENOSYS);
  fails("a negative system call", syscall(-5), ENOSYS);
  return guest_end();
}
