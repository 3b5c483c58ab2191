/* Names are bytes: files, folders, links, sockets, arguments and environment that are no UTF-8, and private characters. */
#include "guest.h"
#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Latin-1, a lone continuation, an encoded surrogate, and characters at the ends of the private planes. */
static const char *const NAMES[] = {
  "caf\xe9", "\xff", "a\x80z", "\xed\xb3\xa7", "\xc3\xa6", "\xf4\x8f\xbb\xbf", "\xf4\x8f\xbc\x80", "\xf4\x8f\xbf\xbf\xff", "\xf0\x9f\x98",
};
#define COUNT (sizeof NAMES / sizeof *NAMES)

/* Whether a listing of this folder has exactly these names. */
static int listed(void) {
  DIR *folder = opendir(".");
  size_t found = 0, others = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    size_t i = 0;
    while (i < COUNT && strcmp(entry->d_name, NAMES[i]) != 0) i++;
    if (i < COUNT) found++;
    else if (entry->d_name[0] != '.') others++;
  }
  closedir(folder);
  return found == COUNT && others == 0;
}

int main(int argc, char **argv) {
  if (argc == 3) {
    /* Started below. */
    const char *value = getenv("BYTES");
    return strcmp(argv[1], NAMES[0]) == 0 && strcmp(argv[2], NAMES[5]) == 0 && value != NULL && strcmp(value, NAMES[3]) == 0 ? 0 : 1;
  }
  guest_begin();
  char self[256];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  self[length < 0 ? 0 : length] = 0;
  enter_scratch();
  for (size_t i = 0; i < COUNT; i++) write_file(NAMES[i], NAMES[i]);
  truth("files are listed by their bytes", listed());
  int right = 1;
  for (size_t i = 0; i < COUNT; i++) right = right && strcmp(read_file(NAMES[i]), NAMES[i]) == 0;
  truth("each is its own", right);
  fails("what its replacement would be is not there", access("caf\xef\xbf\xbd", F_OK), ENOENT);
  char text[256];
  result("a symbolic link", symlink(NAMES[2], "link"), 0);
  memset(text, 0, sizeof text);
  result("readlink", readlink("link", text, sizeof text), (long long)strlen(NAMES[2]));
  same_text("keeps the bytes", text, NAMES[2]);
  same_text("leads there", read_file("link"), NAMES[2]);
  unlink("link");
  for (size_t i = 0; i < COUNT; i++) unlink(NAMES[i]);

  result("a folder", mkdir(NAMES[1], 0755), 0);
  result("chdir", chdir(NAMES[1]), 0);
  getcwd(text, sizeof text);
  same_text("getcwd", strrchr(text, '/') + 1, NAMES[1]);
  result("back", chdir(".."), 0);
  result("rename", rename(NAMES[1], NAMES[4]), 0);
  result("rmdir", rmdir(NAMES[4]), 0);

  struct sockaddr_un address = {.sun_family = AF_UNIX}, bound;
  strcpy(address.sun_path, NAMES[0]);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  result("bind", bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  socklen_t size = sizeof bound;
  result("getsockname", getsockname(fd, (struct sockaddr *)&bound, &size), 0);
  same_text("has the bytes", bound.sun_path, NAMES[0]);
  close(fd);
  unlink(NAMES[0]);

  pid_t child = fork();
  if (child == 0) {
    setenv("BYTES", NAMES[3], 1);
    char *const arguments[] = {"names", (char *)NAMES[0], (char *)NAMES[5], NULL};
    execv(self, arguments);
    _exit(9);
  }
  int status = -1;
  waitpid(child, &status, 0);
  result("arguments and environment of a program", status, 0);
  leave_scratch();
  return guest_end();
}
