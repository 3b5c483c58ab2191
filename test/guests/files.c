/* open, read, write, lseek, pread, pwrite, readv, writev, truncate, stat, fcntl, dup, access, flock, copies. */
#include "guest.h"
#include <limits.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/uio.h>

static void opening(void) {
  int fd = works("open creates", open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
  fails("O_EXCL on an existing file", open("a", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
  fails("open a missing file", open("missing", O_RDONLY), ENOENT);
  fails("open below a file", open("a/b", O_RDONLY), ENOTDIR);
  fails("O_DIRECTORY on a file", open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
  fails("a folder for writing", open(".", O_WRONLY), EISDIR);
  fails("O_CREAT of a folder", open(".", O_RDONLY | O_CREAT, 0600), EISDIR);
  fails("open an empty path", open("", O_RDONLY), ENOENT);
  fails("a bad path pointer", open(BAD_POINTER, O_RDONLY), EFAULT);
  char name[300];
  memset(name, 'x', sizeof name);
  name[256] = 0;
  fails("a name of 256 bytes", open(name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
  name[255] = 0;
  int longest = works("a name of 255 bytes", open(name, O_RDWR | O_CREAT, 0600));
  close(longest);
  unlink(name);
  static char path[PATH_MAX + 2];
  memset(path, '/', PATH_MAX);
  fails("a path of PATH_MAX bytes", open(path, O_RDONLY), ENAMETOOLONG);
  fails("openat with a bad descriptor", openat(BAD_FD, "a", O_RDONLY), EBADF);
  fails("openat below a file", openat(fd, "b", O_RDONLY), ENOTDIR);
  int absolute = works("openat ignores the descriptor for an absolute path", openat(BAD_FD, "/tmp", O_RDONLY));
  close(absolute);
  int folder = open(".", O_RDONLY | O_DIRECTORY);
  int other = works("openat relative to a folder", openat(folder, "a", O_RDONLY));
  char byte;
  fails("write to a file opened for reading", write(other, "x", 1), EBADF);
  fails("read from a folder", read(folder, &byte, 1), EISDIR);
  close(other);
  close(folder);
  other = open("a", O_WRONLY);
  fails("read from a file opened for writing", read(other, &byte, 1), EBADF);
  close(other);
  fails("close a closed descriptor", close(other), EBADF);
  int lowest = open("a", O_RDONLY);
  result("the lowest free descriptor is taken", lowest, other);
  close(lowest);
  int pathOnly = works("O_PATH", open("a", O_PATH));
  fails("read from an O_PATH descriptor", read(pathOnly, &byte, 1), EBADF);
  struct stat st;
  result("fstat of an O_PATH descriptor", fstat(pathOnly, &st), 0);
  close(pathOnly);
  close(fd);
  unlink("a");
}

static void transfer(void) {
  char buffer[64];
  int fd = open("t", O_RDWR | O_CREAT | O_TRUNC, 0600);
  result("write", write(fd, "hello world", 11), 11);
  result("write of nothing", write(fd, "", 0), 0);
  result("lseek SEEK_CUR", lseek(fd, 0, SEEK_CUR), 11);
  result("lseek SEEK_SET", lseek(fd, 6, SEEK_SET), 6);
  memset(buffer, 0, sizeof buffer);
  result("read to the end", read(fd, buffer, sizeof buffer), 5);
  same_text("what was read", buffer, "world");
  result("read at the end", read(fd, buffer, sizeof buffer), 0);
  result("lseek SEEK_END", lseek(fd, -5, SEEK_END), 6);
  fails("lseek before the start", lseek(fd, -1, SEEK_SET), EINVAL);
  fails("lseek with a bad whence", lseek(fd, 0, 77), EINVAL);
  fails("lseek of a bad descriptor", lseek(BAD_FD, 0, SEEK_SET), EBADF);
  result("pread", pread(fd, buffer, 5, 0), 5);
  result("pread leaves the position", lseek(fd, 0, SEEK_CUR), 6);
  fails("pread at a negative offset", pread(fd, buffer, 5, -1), EINVAL);
  result("pwrite", pwrite(fd, "J", 1, 0), 1);
  fails("pwrite at a negative offset", pwrite(fd, "J", 1, -1), EINVAL);
  same_text("pwrite wrote", read_file("t"), "Jello world");
  fails("read to a bad pointer", read(fd, BAD_POINTER, 5), EFAULT);
  fails("write from a bad pointer", write(fd, BAD_POINTER, 5), EFAULT);
  fails("read of a bad descriptor", read(BAD_FD, buffer, 1), EBADF);
  fails("write to a bad descriptor", write(BAD_FD, buffer, 1), EBADF);
  result("write beyond the end", pwrite(fd, "end", 3, 20), 3);
  result("the hole reads as zeros", pread(fd, buffer, 9, 11), 9);
  truth("zeros", memcmp(buffer, "\0\0\0\0\0\0\0\0\0", 9) == 0);
  struct iovec out[3] = {{"one", 3}, {"", 0}, {"two", 3}};
  lseek(fd, 0, SEEK_SET);
  result("writev", writev(fd, out, 3), 6);
  char first[2], second[10];
  struct iovec in[2] = {{first, 2}, {second, 10}};
  result("preadv", preadv(fd, in, 2, 0), 12);
  truth("preadv scatters", memcmp(first, "on", 2) == 0 && memcmp(second, "etwoworld\0", 10) == 0);
  result("readv of no vectors", readv(fd, in, 0), 0);
  fails("readv of too many vectors", readv(fd, in, IOV_MAX + 1), EINVAL);
  fails("readv with a bad vector pointer", readv(fd, BAD_POINTER, 2), EFAULT);
  struct iovec bad[2] = {{"x", 1}, {(void *)0x10, (size_t)-1}};
  fails("writev with a negative length", writev(fd, bad, 2), EINVAL);
  result("pwritev", pwritev(fd, out, 3, 30), 6);
  close(fd);

  fd = open("t", O_WRONLY | O_APPEND);
  result("O_APPEND starts at 0", lseek(fd, 0, SEEK_CUR), 0);
  result("O_APPEND writes", write(fd, "!", 1), 1);
  result("O_APPEND moves to the end", lseek(fd, 0, SEEK_CUR), 37);
  close(fd);
  fd = open("t", O_WRONLY | O_TRUNC);
  result("O_TRUNC empties", lseek(fd, 0, SEEK_END), 0);
  close(fd);
  unlink("t");

  fd = open("big", O_RDWR | O_CREAT, 0600);
  static char big[300000];
  for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 + i / 251);
  result("a large write", write(fd, big, sizeof big), sizeof big);
  static char back[300000];
  result("a large pread", pread(fd, back, sizeof back, 0), sizeof back);
  truth("a large file comes back", memcmp(big, back, sizeof big) == 0);
  close(fd);
  unlink("big");
}

static void sizes(void) {
  int fd = open("s", O_RDWR | O_CREAT, 0600);
  struct stat st;
  write(fd, "0123456789", 10);
  result("ftruncate shrinks", ftruncate(fd, 4), 0);
  same_text("the rest is gone", read_file("s"), "0123");
  result("ftruncate grows", ftruncate(fd, 8192), 0);
  fstat(fd, &st);
  result("the size after growing", st.st_size, 8192);
  char bytes[8];
  pread(fd, bytes, 8, 2);
  truth("growth is zeros", memcmp(bytes, "23\0\0\0\0\0\0", 8) == 0);
  fails("ftruncate to a negative size", ftruncate(fd, -1), EINVAL);
  fails("truncate of a folder", truncate(".", 0), EISDIR);
  fails("truncate of a missing file", truncate("missing", 0), ENOENT);
  result("truncate", truncate("s", 3), 0);
  int readOnly = open("s", O_RDONLY);
  fails("ftruncate of a file opened for reading", ftruncate(readOnly, 0), EINVAL);
  close(readOnly);
  result("fallocate grows", fallocate(fd, 0, 0, 100), 0);
  fstat(fd, &st);
  result("the size after fallocate", st.st_size, 100);
  fails("fallocate of no length", fallocate(fd, 0, 0, 0), EINVAL);
  result("fsync", fsync(fd), 0);
  result("fdatasync", fdatasync(fd), 0);
  fails("fsync of a bad descriptor", fsync(BAD_FD), EBADF);
  close(fd);

  write_file("from", "copied text");
  int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT, 0600);
  off_t offset = 2;
  result("sendfile with an offset", sendfile(to, from, &offset, 100), 9);
  result("sendfile moves the offset", offset, 11);
  result("sendfile leaves the position", lseek(from, 0, SEEK_CUR), 0);
  same_text("sendfile copied", read_file("to"), "pied text");
  loff_t in = 0, out = 0;
  result("copy_file_range", copy_file_range(from, &in, to, &out, 6, 0), 6);
  same_text("copy_file_range copied", read_file("to"), "copiedext");
  close(from);
  close(to);
  unlink("from");
  unlink("to");
  unlink("s");
}

static void status(void) {
  struct stat st, again;
  umask(022);
  int fd = open("f", O_RDWR | O_CREAT, 0666);
  write(fd, "12345", 5);
  result("fstat", fstat(fd, &st), 0);
  result("a regular file", st.st_mode, S_IFREG | 0644);
  result("its size", st.st_size, 5);
  result("its links", st.st_nlink, 1);
  result("its owner", st.st_uid, getuid());
  truth("its block size", st.st_blksize >= 512);
  truth("its time is about now", st.st_mtime > 1600000000 && st.st_mtime <= time(NULL) + 1);
  result("stat", stat("f", &again), 0);
  truth("stat and fstat agree", st.st_ino == again.st_ino && st.st_dev == again.st_dev && st.st_size == again.st_size);
  fails("stat of a missing file", stat("missing", &st), ENOENT);
  fails("stat below a file", stat("f/x", &st), ENOTDIR);
  fails("stat of a file with a slash", stat("f/", &st), ENOTDIR);
  fails("fstat of a bad descriptor", fstat(BAD_FD, &st), EBADF);
  fails("stat to a bad pointer", syscall(SYS_newfstatat, AT_FDCWD, "f", BAD_POINTER, 0), EFAULT);
  fails("newfstatat with a bad flag", syscall(SYS_newfstatat, AT_FDCWD, "f", &st, 0x40000000), EINVAL);
  result("newfstatat with AT_EMPTY_PATH", fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
  result("AT_EMPTY_PATH is the file", st.st_size, 5);
  struct statx extended;
  result("statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &extended), 0);
  truth("statx says the same", extended.stx_size == 5 && extended.stx_ino == st.st_ino && (extended.stx_mask & STATX_SIZE) != 0);
  result("chmod", chmod("f", 0751), 0);
  stat("f", &st);
  result("the new mode", st.st_mode & 07777, 0751);
  result("fchmod", fchmod(fd, 04600), 0);
  fstat(fd, &st);
  result("the set-user-id bit", st.st_mode & 07777, 04600);
  fails("chmod of a missing file", chmod("missing", 0600), ENOENT);
  result("chown", chown("f", 12, 34), 0);
  stat("f", &st);
  truth("the new owner", st.st_uid == 12 && st.st_gid == 34);
  result("chown clears the set-user-id bit", st.st_mode & 07777, 0600);
  result("fchown of the group alone", fchown(fd, -1, 56), 0);
  fstat(fd, &st);
  truth("the owner stays", st.st_uid == 12 && st.st_gid == 56);
  struct timespec times[2] = {{1000, 5000}, {2000, 6000}};
  result("utimensat", utimensat(AT_FDCWD, "f", times, 0), 0);
  stat("f", &st);
  truth("the times", st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 6000);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_nsec = UTIME_NOW;
  result("futimens with UTIME_OMIT and UTIME_NOW", futimens(fd, times), 0);
  stat("f", &st);
  truth("only one time changes", st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec > 1600000000);
  times[0].tv_nsec = 1000000000;
  fails("utimensat with a bad time", utimensat(AT_FDCWD, "f", times, 0), EINVAL);
  fails("utimensat of a missing file", utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
  result("access F_OK", access("f", F_OK), 0);
  result("access R_OK by root", access("f", R_OK), 0);
  fails("access X_OK without an x bit", access("f", X_OK), EACCES);
  fails("access of a missing file", access("missing", F_OK), ENOENT);
  fails("access with a bad mode", access("f", 64), EINVAL);
  struct statfs fs;
  result("statfs", statfs(".", &fs), 0);
  truth("statfs says something", fs.f_bsize > 0 && fs.f_blocks > 0 && fs.f_namelen == 255);
  result("fstatfs", fstatfs(fd, &fs), 0);
  fails("statfs of a missing file", statfs("missing", &fs), ENOENT);
  umask(077);
  close(open("private", O_CREAT | O_WRONLY, 0777));
  stat("private", &st);
  result("umask hides bits", st.st_mode & 0777, 0700);
  umask(022);
  close(fd);
  unlink("f");
  unlink("private");
}

static void descriptors(void) {
  int fd = open("d", O_RDWR | O_CREAT, 0600);
  write(fd, "abcdef", 6);
  int copy = works("dup", dup(fd));
  lseek(fd, 2, SEEK_SET);
  result("a dup shares the position", lseek(copy, 0, SEEK_CUR), 2);
  result("dup2 to a number", dup2(fd, 100), 100);
  result("dup2 to itself", dup2(fd, fd), fd);
  fails("dup2 of a bad descriptor", dup2(BAD_FD, 5), EBADF);
  fails("dup2 to a negative number", dup2(fd, -1), EBADF);
  fails("dup3 to itself", dup3(fd, fd, 0), EINVAL);
  fails("dup3 with a bad flag", dup3(fd, 101, 1), EINVAL);
  result("dup3 with O_CLOEXEC", dup3(fd, 101, O_CLOEXEC), 101);
  result("F_GETFD", fcntl(101, F_GETFD), FD_CLOEXEC);
  result("dup2 clears close-on-exec", fcntl(100, F_GETFD), 0);
  result("F_SETFD", fcntl(100, F_SETFD, FD_CLOEXEC), 0);
  result("F_GETFD afterwards", fcntl(100, F_GETFD), FD_CLOEXEC);
  result("F_DUPFD takes the lowest from a number", fcntl(fd, F_DUPFD, 100), 102);
  result("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 200), 200);
  result("and it has the flag", fcntl(200, F_GETFD), FD_CLOEXEC);
  fails("F_DUPFD from a huge number", fcntl(fd, F_DUPFD, 100000000), EINVAL);
  fails("fcntl of a bad descriptor", fcntl(BAD_FD, F_GETFD), EBADF);
  fails("fcntl with a bad command", fcntl(fd, 7777), EINVAL);
  result("F_GETFL", fcntl(fd, F_GETFL) & ~0100000, O_RDWR);
  result("F_SETFL", fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK), 0);
  result("F_GETFL afterwards", fcntl(copy, F_GETFL) & ~0100000, O_RDWR | O_APPEND | O_NONBLOCK);
  lseek(fd, 0, SEEK_SET);
  write(fd, "!", 1);
  same_text("O_APPEND set later works", read_file("d"), "abcdef!");
  close(copy);
  result("a copy still works when the other is closed", write(100, "?", 1), 1);
  close(100);
  close(101);
  close(102);
  close(200);
  int waiting = -1;
  fails("an ioctl that files do not have", ioctl(fd, TIOCGWINSZ, &waiting), ENOTTY);
  fails("isatty of a file", isatty(fd) - 1, ENOTTY);
  fails("ioctl of a bad descriptor", ioctl(BAD_FD, FIONREAD, &waiting), EBADF);
  result("FIONBIO", ioctl(fd, FIONBIO, &(int){0}), 0);
  result("FIONBIO cleared O_NONBLOCK", fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  result("FIOCLEX", ioctl(fd, FIOCLEX), 0);
  result("FIOCLEX set close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
  dup2(fd, 300);
  dup2(fd, 301);
  dup2(fd, 303);
  result("close_range", close_range(300, 302, 0), 0);
  fails("a descriptor of the range", fcntl(300, F_GETFD), EBADF);
  result("one beyond the range", fcntl(303, F_GETFD), 0);
  close(303);
  fails("close_range backwards", close_range(5, 4, 0), EINVAL);
  close(fd);
  unlink("d");
}

static void locks(void) {
  int fd = open("l", O_RDWR | O_CREAT, 0600);
  int other = open("l", O_RDWR);
  write(fd, "0123456789", 10);
  result("flock exclusive", flock(fd, LOCK_EX), 0);
  fails("a second flock", flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  result("flock shared converts", flock(fd, LOCK_SH), 0);
  result("two shared flocks", flock(other, LOCK_SH | LOCK_NB), 0);
  fails("flock of a bad descriptor", flock(BAD_FD, LOCK_SH), EBADF);
  fails("flock with a bad operation", flock(fd, 77), EINVAL);
  flock(other, LOCK_UN);
  flock(fd, LOCK_UN);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
  result("F_SETLK", fcntl(fd, F_SETLK, &lock), 0);
  pid_t child = fork();
  if (child == 0) {
    struct flock ask = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    int code = 0;
    if (fcntl(fd, F_GETLK, &ask) != 0 || ask.l_type != F_WRLCK || ask.l_start != 2 || ask.l_len != 3 || ask.l_pid != getppid()) code |= 1;
    struct flock want = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4, .l_len = 1};
    if (fcntl(fd, F_SETLK, &want) != -1 || (errno != EAGAIN && errno != EACCES)) code |= 2;
    want.l_start = 5;
    if (fcntl(fd, F_SETLK, &want) != 0) code |= 4;
    _exit(code);
  }
  int status = -1;
  waitpid(child, &status, 0);
  result("another process sees and respects the lock", status, 0);
  lock.l_type = F_UNLCK;
  result("F_UNLCK", fcntl(fd, F_SETLK, &lock), 0);
  close(other);
  close(fd);
  unlink("l");
}

static void devices(void) {
  char buffer[16] = "xxxxxxxxxxxxxxx";
  int fd = works("/dev/null", open("/dev/null", O_RDWR));
  result("reading /dev/null", read(fd, buffer, 4), 0);
  result("writing /dev/null", write(fd, buffer, 4), 4);
  close(fd);
  fd = works("/dev/zero", open("/dev/zero", O_RDONLY));
  result("reading /dev/zero", read(fd, buffer, 8), 8);
  truth("/dev/zero gives zeros", memcmp(buffer, "\0\0\0\0\0\0\0\0", 8) == 0);
  close(fd);
  fd = works("/dev/urandom", open("/dev/urandom", O_RDONLY));
  result("reading /dev/urandom", read(fd, buffer, 16), 16);
  close(fd);
  struct stat st;
  stat("/dev/null", &st);
  truth("/dev/null is a character device", S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
  fd = works("/dev/full", open("/dev/full", O_WRONLY));
  fails("writing /dev/full", write(fd, "x", 1), ENOSPC);
  close(fd);
}

int main(void) {
  guest_begin();
  enter_scratch();
  opening();
  transfer();
  sizes();
  status();
  descriptors();
  locks();
  devices();
  leave_scratch();
  return guest_end();
}
