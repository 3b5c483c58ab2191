/* Clocks, sleeps, POSIX timers, CPU time, calendar functions. */
#include "guest.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

static volatile int fired, fired_value;
static void on_timer(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  fired++;
  fired_value = info->si_value.sival_int;
}
static void ignore(int number) {
  (void)number;
}

int main(void) {
  guest_begin();
  struct timespec a, b;
  clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
  for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
    char name[64];
    snprintf(name, sizeof name, "clock %d", clocks[i]);
    truth(name, clock_gettime(clocks[i], &a) == 0 && a.tv_nsec >= 0 && a.tv_nsec < 1000000000 && clock_getres(clocks[i], &b) == 0 && b.tv_sec == 0 && b.tv_nsec > 0);
  }
  fails("clock_gettime of a bad clock", clock_gettime(999, &a), EINVAL);
  fails("clock_getres of a bad clock", clock_getres(999, &a), EINVAL);
  fails("clock_gettime to a bad pointer", syscall(SYS_clock_gettime, CLOCK_REALTIME, BAD_POINTER), EFAULT);
  fails("clock_settime of the monotonic clock", clock_settime(CLOCK_MONOTONIC, &a), EINVAL);
  int forward = 1;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 10000; i++) {
    clock_gettime(CLOCK_MONOTONIC, &b);
    forward = forward && (b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
    a = b;
  }
  truth("the monotonic clock never goes back", forward);
  struct timeval day;
  gettimeofday(&day, NULL);
  clock_gettime(CLOCK_REALTIME, &a);
  truth("gettimeofday and CLOCK_REALTIME agree", a.tv_sec - day.tv_sec >= 0 && a.tv_sec - day.tv_sec <= 1);
  truth("time", time(NULL) - a.tv_sec >= 0 && time(NULL) - a.tv_sec <= 1 && a.tv_sec > 1700000000);

  double before = now_ms();
  struct timespec nap = {0, 30000000};
  result("nanosleep", nanosleep(&nap, NULL), 0);
  between("lasts", now_ms() - before, 29.9, 2000);
  nap.tv_nsec = 1000000000;
  fails("nanosleep of too many nanoseconds", nanosleep(&nap, NULL), EINVAL);
  nap.tv_nsec = -1;
  fails("nanosleep of negative nanoseconds", nanosleep(&nap, NULL), EINVAL);
  nap.tv_nsec = 0;
  nap.tv_sec = -1;
  fails("nanosleep of negative seconds", nanosleep(&nap, NULL), EINVAL);
  fails("nanosleep from a bad pointer", syscall(SYS_nanosleep, BAD_POINTER, NULL), EFAULT);
  nap = (struct timespec){0, 0};
  result("nanosleep of nothing", nanosleep(&nap, NULL), 0);
  clock_gettime(CLOCK_MONOTONIC, &a);
  before = now_ms();
  a.tv_nsec += 20000000;
  if (a.tv_nsec >= 1000000000) a.tv_nsec -= 1000000000, a.tv_sec++;
  result("clock_nanosleep until a time", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL), 0);
  between("lasts until then", now_ms() - before, 19, 2000);
  result("until a time that is past", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){1, 0}, NULL), 0);
  result("clock_nanosleep of a bad clock", clock_nanosleep(999, 0, &nap, NULL), EINVAL);
  result("usleep", usleep(1000), 0);

  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
  sigaction(SIGRTMIN + 1, &action, NULL);
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 55};
  result("timer_create", timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  struct itimerspec setting = {{0, 10000000}, {0, 10000000}}, got;
  result("timer_settime", timer_settime(timer, 0, &setting, NULL), 0);
  for (int i = 0; i < 400 && fired < 3; i++) nanosleep(&(struct timespec){0, 5000000}, NULL);
  truth("it fires again and again", fired >= 3 && fired_value == 55);
  result("timer_gettime", timer_gettime(timer, &got), 0);
  truth("tells the interval", got.it_interval.tv_nsec == 10000000 && got.it_value.tv_sec == 0);
  result("timer_delete", timer_delete(timer), 0);
  fails("timer_delete again", syscall(SYS_timer_delete, 77), EINVAL);
  struct itimerval virtual = {{0, 0}, {0, 20000}};
  signal(SIGVTALRM, ignore);
  result("ITIMER_VIRTUAL", setitimer(ITIMER_VIRTUAL, &virtual, NULL), 0);
  virtual.it_value.tv_usec = 0;
  setitimer(ITIMER_VIRTUAL, &virtual, NULL);

  struct rusage usage;
  for (volatile int i = 0; i < 3000000; i++) {
  }
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  truth("a loop takes CPU time", a.tv_sec > 0 || a.tv_nsec > 100000);
  result("getrusage", getrusage(RUSAGE_SELF, &usage), 0);
  truth("tells a resident size", usage.ru_maxrss > 0);
  fails("getrusage of a bad target", getrusage(77, &usage), EINVAL);
  struct tms parts;
  truth("times", times(&parts) != (clock_t)-1);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  sleep_ms(60);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  between("sleeping takes none", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6, 0, 50);

  setenv("TZ", "UTC0", 1);
  tzset();
  time_t when = 951827696;
  char text[64];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %j %a", gmtime(&when));
  same_text("gmtime and strftime", text, "2000-02-29 12:34:56 060 Tue");
  struct tm parsed = {0};
  truth("strptime", strptime("2024-12-31 23:59:59", "%Y-%m-%d %H:%M:%S", &parsed) != NULL);
  result("timegm", timegm(&parsed), 1735689599);
  setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  tzset();
  when = 1720000000;
  strftime(text, sizeof text, "%H:%M %Z", localtime(&when));
  same_text("a time zone", text, "11:46 CEST");
  return guest_end();
}
