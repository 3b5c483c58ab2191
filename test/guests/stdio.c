/* stdio buffers and formats, the environment, sorting, strings, wide characters, locale, temporary files. */
#include "guest.h"
#include <ctype.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <wchar.h>

static int compare(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}
static int sum_of(int count, ...) {
  va_list list;
  va_start(list, count);
  int sum = 0;
  for (int i = 0; i < count; i++) sum += va_arg(list, int);
  va_end(list);
  return sum;
}
#define prints(name, want, ...)                       \
  do {                                                \
    char line_[256];                                  \
    snprintf(line_, sizeof line_, __VA_ARGS__);       \
    same_text(name, line_, want);                     \
  } while (0)

int main(int argc, char **argv) {
  guest_begin();
  enter_scratch();
  truth("arguments", argc == 1 && argv[0] != NULL && argv[1] == NULL);
  prints("integers", "-5 4294967291 ff 0x1f 017 +7", "%d %u %x %#x %#o %+d", -5, -5, 255, 31, 15, 7);
  prints("long integers", "-9223372036854775808 18446744073709551615", "%ld %lu", LONG_MIN, ULONG_MAX);
  prints("widths", "|   42|42   |00042|abc|  x|", "|%5d|%-5d|%05d|%.3s|%*s|", 42, 42, 42, "abcdef", 3, "x");
  prints("characters and percent", "a%", "%c%%", 'a');
  int n = 0, hex = 0;
  char word[16];
  double d = 0;
  result("sscanf", sscanf("12 ff hello 2.5", "%d %x %15s %lf", &n, &hex, word, &d), 4);
  truth("its values", n == 12 && hex == 255 && strcmp(word, "hello") == 0 && d == 2.5);
  errno = 0;
  truth("strtol overflows", strtol("99999999999999999999", NULL, 10) == LONG_MAX && errno == ERANGE);
  result("strtoul of hexadecimal digits", strtoul("0xdeadbeef", NULL, 0), 0xdeadbeef);

  FILE *file = fopen("file", "w+");
  truth("fopen", file != NULL);
  for (int i = 0; i < 1000; i++) fprintf(file, "line %d\n", i);
  result("ftell", ftell(file), 8890);
  struct stat st;
  fflush(file);
  stat("file", &st);
  result("fflush", st.st_size, 8890);
  rewind(file);
  char line[64];
  int lines = 0, right = 1;
  while (fgets(line, sizeof line, file) != NULL) {
    char want[32];
    snprintf(want, sizeof want, "line %d\n", lines++);
    right = right && strcmp(line, want) == 0;
  }
  truth("fgets reads what fprintf wrote", right && lines == 1000 && feof(file));
  result("fseek", fseek(file, -4, SEEK_END), 0);
  result("getc", getc(file), '9');
  result("ungetc", ungetc('Q', file), 'Q');
  result("gives it back", getc(file), 'Q');
  fclose(file);
  file = fopen("file", "a");
  fputs("more", file);
  fclose(file);
  stat("file", &st);
  result("append", st.st_size, 8894);
  truth("a missing file", fopen("missing", "r") == NULL && errno == ENOENT);
  result("remove", remove("file"), 0);
  file = tmpfile();
  truth("tmpfile", file != NULL && fputs("x", file) >= 0);
  if (file != NULL) fclose(file);
  char *memory = NULL;
  size_t size = 0;
  file = open_memstream(&memory, &size);
  fprintf(file, "in %s", "memory");
  fclose(file);
  same_text("open_memstream", memory, "in memory");
  free(memory);
  file = fopen("lines", "w");
  fputs("first\nsecond without an end", file);
  fclose(file);
  file = fopen("lines", "r");
  char *any = NULL;
  size = 0;
  result("getline", getline(&any, &size, file), 6);
  result("the last line", getline(&any, &size, file), 21);
  fails("the end", getline(&any, &size, file), errno);
  free(any);
  fclose(file);
  unlink("lines");

  result("setenv", setenv("GUEST", "one", 1), 0);
  setenv("GUEST", "two", 0);
  same_text("getenv", getenv("GUEST"), "one");
  unsetenv("GUEST");
  truth("unsetenv", getenv("GUEST") == NULL);
  fails("setenv of a bad name", setenv("A=B", "x", 1), EINVAL);
  int numbers[1000];
  unsigned seed = 1;
  for (int i = 0; i < 1000; i++) numbers[i] = (int)((seed = seed * 1103515245 + 12345) >> 8);
  qsort(numbers, 1000, sizeof numbers[0], compare);
  right = 1;
  for (int i = 1; i < 1000; i++) right = right && numbers[i - 1] <= numbers[i];
  truth("qsort", right);
  truth("bsearch", bsearch(&numbers[500], numbers, 1000, sizeof numbers[0], compare) != NULL);
  result("variable arguments", sum_of(12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 78);
  char text[] = "a,b;c";
  char *rest = text;
  right = strcmp(strsep(&rest, ",;"), "a") == 0 && strcmp(strsep(&rest, ",;"), "b") == 0 && strcmp(rest, "c") == 0;
  truth("strsep", right);
  truth("strstr, strchr, strrchr, memmem", strstr("haystack", "st") != NULL && strrchr("aXbX", 'X')[1] == 0 && memmem("abc", 3, "bc", 2) != NULL && strchr("abc", 'z') == NULL);
  char overlap[] = "0123456789";
  memmove(overlap + 2, overlap, 5);
  same_text("memmove", overlap, "0101234789");
  int lengths = 1;
  static char block[300];
  for (int offset = 0; offset < 16; offset++)
    for (int length = 0; length < 200; length += 7) {
      memset(block, 0, sizeof block);
      memset(block + offset, 'z', length);
      lengths = lengths && (int)strlen(block + offset) == length && memchr(block + offset, 0, 201) == block + offset + length;
    }
  truth("strlen, memset and memchr at all offsets", lengths);
  truth("ctype", isalpha('a') && !isalpha('1') && toupper('q') == 'Q');
  same_text("setlocale", setlocale(LC_ALL, "C"), "C");
  wchar_t wide[16];
  result("mbstowcs", mbstowcs(wide, "abc", 16), 3);
  result("wcslen", wcslen(wide), 3);
  same_text("strerror", strerror(ENOENT), "No such file or directory");
  same_text("strsignal", strsignal(SIGSEGV), "Segmentation fault");
  result("division", (volatile int){-7} / (volatile int){2}, -3);
  result("remainder", (volatile int){-7} % (volatile int){2}, -1);
  volatile unsigned __int128 product = (unsigned __int128)0xffffffffffffffff * 0xfffffffffffffff1;
  truth("128-bit multiplication", (uint64_t)(product >> 64) == 0xfffffffffffffff0 && (uint64_t)product == 15);
  result("128-bit division", (long long)(product / 0xffffffffffffffff), (long long)0xfffffffffffffff1);
  result("popcount and leading zeros", __builtin_popcountll((volatile uint64_t){0xff00ff}) * 100 + __builtin_clzll((volatile uint64_t){0xff00ff}), 1640);

  /* Standard error has no buffer, standard output to a file has one: their order in one file shows it. */
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int fd = open("both", O_CREAT | O_RDWR | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("out ");
    fprintf(stderr, "err ");
    printf("end");
    exit(0);
  }
  waitpid(child, NULL, 0);
  same_text("buffers are flushed at exit", read_file("both"), "err out end");
  unlink("both");
  leave_scratch();
  return guest_end();
}
