/* Holes of files, memfd seals, files without a name, whiteouts, extended attributes, record locks of open files, large directories, splice and its kin. */
#include "guest.h"
#include <dirent.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#ifndef RENAME_WHITEOUT
#define RENAME_WHITEOUT 4
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

static char block[65536];

static long long blocks(int fd) {
  struct stat st;
  fstat(fd, &st);
  return st.st_blocks;
}

/* `where`: what the names say; a file of the root file system, or one in memory. */
static void holes(const char *where, int fd) {
  char name[120];
#define NAMED(text) (snprintf(name, sizeof name, "%s: %s", where, text), name)
  struct stat st;
  memset(block, 'd', sizeof block);
  fails(NAMED("SEEK_DATA in an empty file"), lseek(fd, 0, SEEK_DATA), ENXIO);
  fails(NAMED("SEEK_HOLE in an empty file"), lseek(fd, 0, SEEK_HOLE), ENXIO);
  result(NAMED("a file of a hole"), ftruncate(fd, 1 << 20), 0);
  result(NAMED("has no blocks"), blocks(fd), 0);
  fails(NAMED("and no data"), lseek(fd, 0, SEEK_DATA), ENXIO);
  result(NAMED("a hole from the start"), lseek(fd, 0, SEEK_HOLE), 0);
  result(NAMED("data in the middle"), pwrite(fd, block, 65536, 524288), 65536);
  result(NAMED("is found"), lseek(fd, 0, SEEK_DATA), 524288);
  result(NAMED("from its middle too"), lseek(fd, 530000, SEEK_DATA), 530000);
  result(NAMED("a hole before it"), lseek(fd, 4096, SEEK_HOLE), 4096);
  result(NAMED("a hole behind it"), lseek(fd, 524288, SEEK_HOLE), 589824);
  fails(NAMED("no data behind it"), lseek(fd, 589824, SEEK_DATA), ENXIO);
  fails(NAMED("behind the end"), lseek(fd, 1 << 20, SEEK_HOLE), ENXIO);
  fails(NAMED("before the start"), lseek(fd, -1, SEEK_DATA), ENXIO);
  fsync(fd);
  result(NAMED("blocks of what is there"), blocks(fd), 128);
  result(NAMED("a hole reads as zeros"), pread(fd, block, 16, 4096), 16);
  truth(NAMED("all of them"), memcmp(block, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
  memset(block, 'd', 16);
  result(NAMED("PUNCH_HOLE"), fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 540672, 8192), 0);
  result(NAMED("data up to it"), lseek(fd, 524288, SEEK_HOLE), 540672);
  result(NAMED("and behind it"), lseek(fd, 540672, SEEK_DATA), 548864);
  fsync(fd);
  result(NAMED("gives blocks back"), blocks(fd), 112);
  pread(fd, block, 16384, 536576);
  truth(NAMED("zeros in the hole only"), block[0] == 'd' && block[4095] == 'd' && block[4096] == 0 && block[12287] == 0 && block[12288] == 'd');
  memset(block, 'd', sizeof block);
  result(NAMED("a part of a block"), fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 524288 + 100, 50), 0);
  result(NAMED("is no hole"), lseek(fd, 524288, SEEK_HOLE), 540672);
  pread(fd, block, 200, 524288);
  truth(NAMED("but zeros"), block[99] == 'd' && block[100] == 0 && block[149] == 0 && block[150] == 'd');
  memset(block, 'd', sizeof block);
  fails(NAMED("PUNCH_HOLE must keep the size"), fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
  result(NAMED("writing into the hole"), pwrite(fd, block, 1, 541000), 1);
  result(NAMED("fills a block of it"), lseek(fd, 524288, SEEK_HOLE), 544768);
  result(NAMED("cutting the file"), ftruncate(fd, 530000), 0);
  result(NAMED("and making it longer"), ftruncate(fd, 1 << 20), 0);
  result(NAMED("leaves a hole"), lseek(fd, 524288, SEEK_HOLE), 532480);
  pread(fd, block, 4096, 528384);
  truth(NAMED("of zeros"), block[1615] == 'd' && block[1616] == 0 && block[4095] == 0);
  memset(block, 'd', sizeof block);
  fstat(fd, &st);
  result(NAMED("the size stays"), st.st_size, 1 << 20);
  result(NAMED("fallocate that keeps the size"), fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20), 0);
  fstat(fd, &st);
  result(NAMED("keeps it"), st.st_size, 1 << 20);
  result(NAMED("fallocate that does not"), fallocate(fd, 0, 1 << 20, 1 << 20), 0);
  fstat(fd, &st);
  result(NAMED("grows"), st.st_size, 2 << 20);
  fails(NAMED("unknown bits"), fallocate(fd, 0x200, 0, 4096), EOPNOTSUPP);
  result(NAMED("a write far behind"), pwrite(fd, "end", 3, 1LL << 33), 3);
  fstat(fd, &st);
  result(NAMED("eight gigabytes"), st.st_size, (1LL << 33) + 3);
  result(NAMED("in an instant"), lseek(fd, 4 << 20, SEEK_DATA), 1LL << 33);
  result(NAMED("the end is a hole"), lseek(fd, 1LL << 33, SEEK_HOLE), (1LL << 33) + 3);
}

static void seals(void) {
  int fd = works("memfd_create", memfd_create("plain", 0));
  result("a memfd is sealed against seals", fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
  fails("and takes none", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
  close(fd);
  fd = works("MFD_ALLOW_SEALING", memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  result("no seals", fcntl(fd, F_GET_SEALS), 0);
  write(fd, block, 8192);
  result("F_SEAL_SHRINK", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  fails("it does not shrink", ftruncate(fd, 4096), EPERM);
  result("it grows", ftruncate(fd, 16384), 0);
  result("F_SEAL_GROW", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
  fails("it does not grow", ftruncate(fd, 20000), EPERM);
  fails("nor by a write", pwrite(fd, block, 100, 16384), EPERM);
  fails("nor by fallocate", fallocate(fd, 0, 0, 20000), EPERM);
  result("a write inside", pwrite(fd, "in", 2, 0), 2);
  result("one over the end is cut", pwrite(fd, block, 8192, 12288), 4096);
  result("seals so far", fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
  fails("unknown seals", fcntl(fd, F_ADD_SEALS, 0x1000), EINVAL);
  char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  fails("F_SEAL_WRITE while it is mapped for writing", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  munmap(map, 4096);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int reader = open(path, O_RDONLY);
  fails("seals through a descriptor for reading", fcntl(reader, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
  result("are seen there", fcntl(reader, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
  close(reader);
  result("F_SEAL_WRITE", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  fails("no write", pwrite(fd, "x", 1, 0), EPERM);
  fails("no hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EPERM);
  fails("no shared mapping for writing", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
  map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  truth("a private one", map != MAP_FAILED && map[0] == 'i');
  munmap(map, 4096);
  result("F_SEAL_SEAL", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
  fails("the end of it", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
  result("what it was", pread(fd, path, 2, 0), 2);
  close(fd);
  fd = memfd_create("future", MFD_ALLOW_SEALING);
  ftruncate(fd, 4096);
  map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  result("F_SEAL_FUTURE_WRITE with a mapping", fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  map[0] = 'm';
  fails("no write any more", write(fd, "x", 1), EPERM);
  result("the mapping writes on", ({ char c = 0; pread(fd, &c, 1, 0); c; }), 'm');
  munmap(map, 4096);
  close(fd);
  int plain = open("plain", O_RDWR | O_CREAT, 0644);
  int pipes[2];
  pipe(pipes);
  fails("seals of a pipe", fcntl(pipes[0], F_GET_SEALS), EINVAL);
  close(pipes[0]);
  close(pipes[1]);
  close(plain);
  unlink("plain");
}

static void unnamed(void) {
  int fd = works("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0640));
  struct stat st;
  fstat(fd, &st);
  truth("has no name", st.st_nlink == 0 && S_ISREG(st.st_mode));
  write(fd, "later", 5);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  result("linkat gives it one", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
  same_text("with its contents", read_file("named"), "later");
  fails("over an existing one", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), EEXIST);
  result("AT_EMPTY_PATH", linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH), 0);
  fstat(fd, &st);
  result("two names", st.st_nlink, 2);
  close(fd);
  fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  fails("O_EXCL: it never gets one", linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
  close(fd);
  fails("O_TMPFILE for reading", open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
  unlink("named");
  unlink("again");
}

static void renames(void) {
  struct stat st;
  write_file("a", "a");
  write_file("b", "b");
  result("RENAME_WHITEOUT", renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_WHITEOUT), 0);
  same_text("moves", read_file("c"), "a");
  result("and leaves", lstat("a", &st), 0);
  truth("a device 0:0", S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0) && (st.st_mode & 07777) == 0);
  fails("over a name with RENAME_NOREPLACE", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
  result("over a name", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT), 0);
  same_text("replaces", read_file("c"), "b");
  fails("with RENAME_EXCHANGE", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
  mkdir("d", 0755);
  result("RENAME_EXCHANGE of a file and a folder", renameat2(AT_FDCWD, "c", AT_FDCWD, "d", RENAME_EXCHANGE), 0);
  truth("they changed places", stat("c", &st) == 0 && S_ISDIR(st.st_mode) && stat("d", &st) == 0 && S_ISREG(st.st_mode));
  fails("RENAME_EXCHANGE with nothing", renameat2(AT_FDCWD, "c", AT_FDCWD, "missing", RENAME_EXCHANGE), ENOENT);
  result("RENAME_NOREPLACE to a new name", renameat2(AT_FDCWD, "d", AT_FDCWD, "e", RENAME_NOREPLACE), 0);
  unlink("a");
  unlink("b");
  unlink("e");
  rmdir("c");
}

static void attributes(void) {
  char text[64];
  write_file("x", "x");
  result("setxattr", setxattr("x", "trusted.one", "1", 1, 0), 0);
  result("getxattr", getxattr("x", "trusted.one", text, sizeof text), 1);
  fails("XATTR_CREATE of one that is", setxattr("x", "trusted.one", "2", 1, XATTR_CREATE), EEXIST);
  fails("XATTR_REPLACE of one that is not", setxattr("x", "trusted.two", "2", 1, XATTR_REPLACE), ENODATA);
  result("its length", getxattr("x", "trusted.one", NULL, 0), 1);
  result("an empty value", setxattr("x", "trusted.empty", "", 0, 0), 0);
  result("is there", getxattr("x", "trusted.empty", text, sizeof text), 0);
  fails("no room", getxattr("x", "trusted.one", text, 0) == 1 ? listxattr("x", text, 3) : 0, ERANGE);
  truth("listxattr", listxattr("x", text, sizeof text) >= 26);
  rename("x", "y");
  result("they move with the file", getxattr("y", "trusted.one", text, sizeof text), 1);
  result("removexattr", removexattr("y", "trusted.one"), 0);
  fails("is gone", getxattr("y", "trusted.one", text, sizeof text), ENODATA);
  fails("of another kind", setxattr("y", "other.one", "1", 1, 0), EOPNOTSUPP);
  unlink("y");
}

static void locks(void) {
  int one = open("lock", O_RDWR | O_CREAT, 0644), two = open("lock", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  result("F_OFD_SETLK", fcntl(one, F_OFD_SETLK, &lock), 0);
  fails("of another open file of this process", fcntl(two, F_OFD_SETLK, &lock), EAGAIN);
  struct flock ask = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
  result("F_OFD_GETLK", fcntl(two, F_OFD_GETLK, &ask), 0);
  truth("tells of it", ask.l_type == F_WRLCK && ask.l_start == 0 && ask.l_len == 10 && ask.l_pid == -1);
  lock.l_start = 10;
  result("beside it", fcntl(two, F_OFD_SETLK, &lock), 0);
  struct flock own = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  fails("a lock of the process", fcntl(one, F_SETLK, &own), EAGAIN);
  int copy = dup(one);
  close(one);
  own.l_type = F_WRLCK;
  fails("a duplicate keeps it", fcntl(two, F_OFD_SETLK, &own), EAGAIN);
  pid_t child = fork();
  if (child == 0) {
    close(copy);
    _exit(fcntl(two, F_OFD_SETLKW, &own) == 0 ? 0 : errno);
  }
  sleep_ms(30);
  close(copy);
  int status = -1;
  waitpid(child, &status, 0);
  result("who waits for it gets it", status, 0);
  int three = open("lock", O_RDWR);
  result("flock", flock(three, LOCK_EX | LOCK_NB), 0);
  fails("of another", flock(two, LOCK_SH | LOCK_NB), EWOULDBLOCK);
  result("turned into a shared one", flock(three, LOCK_SH), 0);
  result("which two may have", flock(two, LOCK_SH | LOCK_NB), 0);
  fails("neither alone", flock(three, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  close(two);
  close(three);
  unlink("lock");
}

static void moving_bytes(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  write_file("from", "0123456789abcdef");
  int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT | O_TRUNC, 0644);
  off_t at = 2, where = 3;
  result("splice from a file", splice(from, &at, p[1], NULL, 5, 0), 5);
  result("moves the offset given", at, 7);
  result("tee", tee(p[0], q[1], 5, 0), 5);
  result("splice to a file", splice(p[0], NULL, to, NULL, 5, 0), 5);
  result("what tee left", splice(q[0], NULL, to, NULL, 9, SPLICE_F_NONBLOCK), 5);
  same_text("twice the bytes", read_file("to"), "2345623456");
  fails("splice without a pipe", splice(from, NULL, to, NULL, 5, 0), EINVAL);
  fails("splice of an empty pipe", splice(p[0], NULL, to, NULL, 5, SPLICE_F_NONBLOCK), EAGAIN);
  fails("tee of one pipe to itself", tee(p[0], p[1], 1, 0), EINVAL);
  at = 10;
  result("copy_file_range", copy_file_range(from, &at, to, &where, 3, 0), 3);
  truth("moves both offsets", at == 13 && where == 6);
  same_text("inside", read_file("to"), "234abc3456");
  result("copy_file_range at the end", copy_file_range(from, &(off_t){16}, to, NULL, 3, 0), 0);
  fails("copy_file_range over itself", copy_file_range(to, &(off_t){0}, to, &(off_t){2}, 5, 0), EINVAL);
  fails("copy_file_range with flags", copy_file_range(from, NULL, to, NULL, 1, 1), EINVAL);
  fails("copy_file_range to a reader", copy_file_range(to, NULL, from, NULL, 1, 0), EBADF);
  at = 4;
  result("sendfile", sendfile(p[1], from, &at, 4), 4);
  char text[8] = "";
  read(p[0], text, 4);
  same_text("sends", text, "4567");
  for (int i = 0; i < 2; i++) close(p[i]), close(q[i]);
  close(from);
  close(to);
  unlink("from");
  unlink("to");
}

static void large_directory(int count) {
  char path[32];
  mkdir("many", 0755);
  int made = 0;
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "many/%06d", i);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd >= 0) made++, close(fd);
  }
  result("files of a large folder", made, count);
  unsigned char *seen = calloc((size_t)count, 1);
  int listed = 0, twice = 0;
  DIR *directory = opendir("many");
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    int number = atoi(entry->d_name);
    listed++;
    twice += seen[number]++;
  }
  result("are all listed", listed, count);
  result("and once", twice, 0);
  rewinddir(directory);
  int removed = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (entry->d_name[0] != '.') removed += unlinkat(dirfd(directory), entry->d_name, 0) == 0;
  closedir(directory);
  result("and removed while they are listed", removed, count);
  result("none is left", rmdir("many"), 0);
  free(seen);
}

int main(int argc, char **argv) {
  guest_begin();
  enter_scratch();
  if (argc > 1) {
    large_directory(atoi(argv[1]));
    leave_scratch();
    return guest_end();
  }
  int fd = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0644);
  holes("a file", fd);
  close(fd);
  unlink("holes");
  fd = memfd_create("holes", 0);
  holes("memory", fd);
  close(fd);
  seals();
  unnamed();
  renames();
  attributes();
  locks();
  moving_bytes();
  large_directory(2000);
  leave_scratch();
  return guest_end();
}
