/* mkdir, rmdir, getdents64, chdir, getcwd, folders relative to descriptors, /proc as programs read it. */
#include "guest.h"
#include <dirent.h>
#include <sys/mount.h>

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The sorted names of a folder, joined by spaces. */
static const char *list(const char *path) {
  static char text[8192];
  char *names[512];
  int count = 0;
  DIR *dir = opendir(path);
  if (dir == NULL) return "(cannot open)";
  for (struct dirent *entry; (entry = readdir(dir)) != NULL && count < 512;) names[count++] = strdup(entry->d_name);
  closedir(dir);
  qsort(names, count, sizeof names[0], by_name);
  text[0] = 0;
  for (int i = 0; i < count; i++) {
    if (i > 0) strcat(text, " ");
    strcat(text, names[i]);
    free(names[i]);
  }
  return text;
}

int main(void) {
  guest_begin();
  enter_scratch();
  umask(022);
  struct stat st;
  char cwd[256], expected[300];
  result("mkdir", mkdir("a", 0777), 0);
  stat("a", &st);
  result("its mode", st.st_mode, S_IFDIR | 0755);
  fails("mkdir again", mkdir("a", 0777), EEXIST);
  fails("mkdir below a missing folder", mkdir("x/y", 0777), ENOENT);
  write_file("f", "text");
  fails("mkdir below a file", mkdir("f/y", 0777), ENOTDIR);
  fails("mkdir over a file", mkdir("f", 0777), EEXIST);
  fails("mkdir of an empty name", mkdir("", 0777), ENOENT);
  fails("mkdir of /", mkdir("/", 0777), EEXIST);
  result("mkdir with a trailing slash", mkdir("b/", 0700), 0);
  result("mkdir two deep", mkdir("a/inner", 0777), 0);
  stat("a", &st);
  truth("links of a folder", st.st_nlink == 3 || st.st_nlink == 1);
  fails("rmdir of a folder with entries", rmdir("a"), ENOTEMPTY);
  fails("rmdir of a file", rmdir("f"), ENOTDIR);
  fails("rmdir of a missing folder", rmdir("missing"), ENOENT);
  fails("rmdir of .", rmdir("a/."), EINVAL);
  fails("rmdir of ..", rmdir("a/inner/.."), ENOTEMPTY);
  fails("unlink of a folder", unlink("a"), EISDIR);
  same_text("getdents64", list("."), ". .. a b f");
  same_text("an empty folder", list("b"), ". ..");
  fails("getdents64 of a file", ({ int fd = open("f", O_RDONLY); char space[512]; long r = syscall(SYS_getdents64, fd, space, sizeof space); int e = errno; close(fd); errno = e; r; }), ENOTDIR);
  fails("getdents64 into too little space", ({ int fd = open(".", O_RDONLY); char space[8]; long r = syscall(SYS_getdents64, fd, space, sizeof space); int e = errno; close(fd); errno = e; r; }), EINVAL);

  mkdir("many", 0777);
  for (int i = 0; i < 300; i++) {
    char name[32];
    snprintf(name, sizeof name, "many/file%03d", i);
    close(open(name, O_CREAT | O_WRONLY, 0600));
  }
  DIR *dir = opendir("many");
  int count = 0, kinds = 0;
  char seen[300] = {0};
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.') {
      kinds += entry->d_type == DT_DIR;
      continue;
    }
    count++;
    seen[atoi(entry->d_name + 4)]++;
    kinds += entry->d_type == DT_REG;
  }
  result("300 entries are listed", count, 300);
  int once = 1;
  for (int i = 0; i < 300; i++) once = once && seen[i] == 1;
  truth("each once", once);
  result("with their kinds", kinds, 302);
  rewinddir(dir);
  count = 0;
  while (readdir(dir) != NULL) count++;
  result("rewinddir starts again", count, 302);
  rewinddir(dir);
  readdir(dir);
  long position = telldir(dir);
  char next[300];
  strcpy(next, readdir(dir)->d_name);
  readdir(dir);
  seekdir(dir, position);
  same_text("seekdir goes back", readdir(dir)->d_name, next);
  rewinddir(dir);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) if (entry->d_name[0] != '.') unlinkat(dirfd(dir), entry->d_name, 0);
  closedir(dir);
  result("removing while listing removes all", rmdir("many"), 0);

  getcwd(cwd, sizeof cwd);
  result("chdir", chdir("a/inner"), 0);
  snprintf(expected, sizeof expected, "%s/a/inner", cwd);
  char here[256];
  same_text("getcwd", getcwd(here, sizeof here), expected);
  result("getcwd returns the length", syscall(SYS_getcwd, here, sizeof here), strlen(expected) + 1);
  fails("getcwd with too little space", syscall(SYS_getcwd, here, 3), ERANGE);
  result("chdir to ..", chdir("../.."), 0);
  fails("chdir to a file", chdir("f"), ENOTDIR);
  fails("chdir to a missing folder", chdir("missing"), ENOENT);
  int fd = open("a", O_RDONLY | O_DIRECTORY);
  result("fchdir", fchdir(fd), 0);
  truth("stat of a relative path", stat("inner", &st) == 0);
  result("mkdirat", mkdirat(fd, "made", 0700), 0);
  int file = works("openat", openat(fd, "made/x", O_CREAT | O_RDWR, 0600));
  close(file);
  fails("unlinkat of a folder without AT_REMOVEDIR", unlinkat(fd, "made", 0), EISDIR);
  fails("unlinkat with a bad flag", unlinkat(fd, "made", 0x4000), EINVAL);
  fails("unlinkat AT_REMOVEDIR of a file", unlinkat(fd, "made/x", AT_REMOVEDIR), ENOTDIR);
  result("unlinkat of a file", unlinkat(fd, "made/x", 0), 0);
  result("unlinkat with AT_REMOVEDIR", unlinkat(fd, "made", AT_REMOVEDIR), 0);
  file = open("/dev/null", O_RDONLY);
  fails("fchdir to a file", fchdir(file), ENOTDIR);
  close(file);
  fails("fchdir to a bad descriptor", fchdir(BAD_FD), EBADF);
  close(fd);
  result("a removed working folder", ({ mkdir("gone", 0700); chdir("gone"); rmdir("../gone"); }), 0);
  fails("getcwd in it", getcwd(here, sizeof here) == NULL ? -1 : 0, ENOENT);
  fails("creating in it", open("new", O_CREAT | O_WRONLY, 0600), ENOENT);
  chdir(cwd);
  truth("dots and slashes in paths", stat(".//a/./inner/../../f", &st) == 0 && S_ISREG(st.st_mode));
  truth(".. of the root is the root", stat("/../../tmp", &st) == 0);

  int deep = 1;
  for (int i = 0; i < 100 && deep; i++) deep = mkdir("d", 0700) == 0 && chdir("d") == 0;
  truth("100 folders deep", deep);
  for (int i = 0; i < 100; i++) {
    chdir("..");
    rmdir("d");
  }
  same_text("back at the top", getcwd(here, sizeof here), cwd);

  rmdir("a/inner");
  rmdir("a");
  rmdir("b");
  unlink("f");

  char link[256];
  ssize_t length = readlink("/proc/self/cwd", link, sizeof link - 1);
  link[length < 0 ? 0 : length] = 0;
  same_text("/proc/self/cwd", link, cwd);
  length = readlink("/proc/self/exe", link, sizeof link - 1);
  truth("/proc/self/exe", length > 1 && link[0] == '/');
  fd = open("p", O_CREAT | O_RDWR, 0600);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  length = readlink(path, link, sizeof link - 1);
  link[length < 0 ? 0 : length] = 0;
  snprintf(expected, sizeof expected, "%s/p", cwd);
  same_text("/proc/self/fd/N", link, expected);
  write(fd, "through", 7);
  same_text("opening /proc/self/fd/N", read_file(path), "through");
  unlink("p");
  length = readlink(path, link, sizeof link - 1);
  link[length < 0 ? 0 : length] = 0;
  strcat(expected, " (deleted)");
  same_text("/proc/self/fd/N of an unlinked file", link, expected);
  close(fd);
  FILE *stream = fopen("/proc/self/stat", "r");
  int pid = 0, parent = 0;
  char name[64], state;
  truth("/proc/self/stat", stream != NULL && fscanf(stream, "%d (%63[^)]) %c %d", &pid, name, &state, &parent) == 4);
  if (stream != NULL) fclose(stream);
  truth("its fields", pid == getpid() && parent == getppid() && state == 'R');
  stream = fopen("/proc/self/status", "r");
  char line[256];
  int rss = 0, threads = 0;
  while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
    rss = rss || strncmp(line, "VmRSS:", 6) == 0;
    threads = threads || strcmp(line, "Threads:\t1\n") == 0;
  }
  if (stream != NULL) fclose(stream);
  truth("/proc/self/status", rss && threads);
  stream = fopen("/proc/self/maps", "r");
  int stack = 0;
  while (stream != NULL && fgets(line, sizeof line, stream) != NULL) stack = stack || strstr(line, "[stack]") != NULL;
  if (stream != NULL) fclose(stream);
  truth("/proc/self/maps", stack);
  truth("/proc/meminfo", strncmp(read_file("/proc/meminfo"), "MemTotal:", 9) == 0);
  truth("/proc/sys/vm/overcommit_memory", read_file("/proc/sys/vm/overcommit_memory")[1] == '\n');
  fails("creating in /proc", open("/proc/new", O_CREAT | O_WRONLY, 0600), ENOENT);
  leave_scratch();
  return guest_end();
}
