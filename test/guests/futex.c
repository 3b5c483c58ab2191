/* Locks whose owner dies, locks with an owner (FUTEX_LOCK_PI and its family), waiting on several words; between threads and between processes. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
struct waitv {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};

static long futex(uint32_t *word, int operation, uint32_t value, const void *timeout, uint32_t *second, uint32_t third) {
  return syscall(SYS_futex, word, operation, value, timeout, second, third);
}
static pid_t tid(void) {
  return (pid_t)syscall(SYS_gettid);
}
static struct timespec after(clockid_t clock, long ms) {
  struct timespec when;
  clock_gettime(clock, &when);
  when.tv_nsec += ms * 1000000;
  when.tv_sec += when.tv_nsec / 1000000000;
  when.tv_nsec %= 1000000000;
  return when;
}

/* Memory that children share with this process. */
struct shared {
  pthread_mutex_t mutex;
  pthread_mutex_t pi_mutex;
  uint32_t word;
  uint32_t lock;
  uint32_t turn;
};
static struct shared *shared;

static void wait_for(uint32_t *word, uint32_t value) {
  for (int i = 0; i < 3000 && __atomic_load_n(word, __ATOMIC_SEQ_CST) != value; i++) sleep_ms(1);
}
static int state_of(pid_t process) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", process);
  int fd = open(path, O_RDONLY);
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  text[length < 0 ? 0 : length] = 0;
  char *end = strrchr(text, ')');
  return end == NULL ? 0 : end[2];
}
/* Until a child sleeps in a call. */
static void until_asleep(pid_t process) {
  for (int i = 0; i < 3000 && state_of(process) != 'S'; i++) sleep_ms(1);
  sleep_ms(10);
}

static void make_mutex(pthread_mutex_t *mutex, int pi) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (pi) pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(mutex, &attributes);
}
static void *lock_and_end(void *mutex) {
  return (void *)(intptr_t)pthread_mutex_lock(mutex);
}
static void *lock_slowly_and_end(void *mutex) {
  pthread_mutex_lock(mutex);
  sleep_ms(60);
  return NULL;
}

static void robust_mutexes(int pi) {
  char name[80];
#define NAMED(text) (snprintf(name, sizeof name, "%s%s", pi ? "PI, " : "", text), name)
  pthread_mutex_t mutex;
  pthread_t thread;
  void *value;
  make_mutex(&mutex, pi);
  pthread_create(&thread, NULL, lock_and_end, &mutex);
  pthread_join(thread, &value);
  result(NAMED("a thread locks and ends"), (intptr_t)value, 0);
  result(NAMED("the next one hears of it"), pthread_mutex_lock(&mutex), EOWNERDEAD);
  result(NAMED("makes it consistent"), pthread_mutex_consistent(&mutex), 0);
  result(NAMED("unlocks"), pthread_mutex_unlock(&mutex), 0);
  result(NAMED("it is as before"), pthread_mutex_lock(&mutex), 0);
  pthread_mutex_unlock(&mutex);

  pthread_create(&thread, NULL, lock_slowly_and_end, &mutex);
  sleep_ms(20);
  result(NAMED("one who waits is woken by the end"), pthread_mutex_lock(&mutex), EOWNERDEAD);
  pthread_join(thread, NULL);
  result(NAMED("unlocking without making it consistent"), pthread_mutex_unlock(&mutex), 0);
  result(NAMED("spoils it"), pthread_mutex_lock(&mutex), ENOTRECOVERABLE);

  pthread_mutex_t *common = pi ? &shared->pi_mutex : &shared->mutex;
  make_mutex(common, pi);
  for (int way = 0; way < 4; way++) {
    static const char *const ways[] = {"_exit", "a signal", "execve", "exit_group of another thread"};
    shared->turn = 0;
    pid_t child = fork();
    if (child == 0) {
      pthread_mutex_lock(common);
      __atomic_store_n(&shared->turn, 1, __ATOMIC_SEQ_CST);
      sleep_ms(60);
      if (way == 0) _exit(0);
      if (way == 1) raise(SIGKILL);
      if (way == 2) execl("/proc/self/exe", "futex", "end", NULL);
      pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))_exit, NULL);
      for (;;) pause();
    }
    wait_for(&shared->turn, 1);
    snprintf(name, sizeof name, "%sa process ends with the lock: %s", pi ? "PI, " : "", ways[way]);
    result(name, pthread_mutex_lock(common), EOWNERDEAD);
    pthread_mutex_consistent(common);
    pthread_mutex_unlock(common);
    waitpid(child, NULL, 0);
  }
  pid_t child = fork();
  if (child == 0) {
    pthread_mutex_lock(common);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  result(NAMED("a process ended with the lock before"), pthread_mutex_trylock(common), EOWNERDEAD);
  pthread_mutex_consistent(common);
  pthread_mutex_unlock(common);
}

/* A list of this program's own. */
struct entry {
  struct entry *next;
  uint32_t word;
};
struct head {
  struct entry *first;
  long offset;
  struct entry *pending;
};
static struct {
  struct head head;
  struct entry entries[3];
} raw;

static void *own_list(void *argument) {
  (void)argument;
  raw.head.offset = offsetof(struct entry, word);
  raw.head.first = &raw.entries[0];
  raw.entries[0].next = &raw.entries[1];
  raw.entries[1].next = (struct entry *)&raw.head;
  raw.head.pending = &raw.entries[2];
  raw.entries[0].word = tid();
  raw.entries[1].word = 77;
  raw.entries[2].word = tid() | FUTEX_WAITERS;
  long answer = syscall(SYS_set_robust_list, &raw.head, sizeof raw.head);
  syscall(SYS_exit, 0);
  return (void *)answer;
}

static void lists(void) {
  void *head = NULL;
  size_t length = 0;
  result("get_robust_list of this thread", syscall(SYS_get_robust_list, 0, &head, &length), 0);
  truth("is what the C library has set", head != NULL && length == 24);
  fails("set_robust_list of another length", syscall(SYS_set_robust_list, head, 23), EINVAL);
  fails("get_robust_list of nobody", syscall(SYS_get_robust_list, 4000000, &head, &length), ESRCH);
  fails("get_robust_list into nowhere", syscall(SYS_get_robust_list, 0, BAD_POINTER, &length), EFAULT);
  pid_t child = fork();
  if (child == 0) {
    /* The list is a thread's own: a child of a bare fork begins without one. */
    pid_t bare = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (bare == 0) {
      head = (void *)1;
      syscall(SYS_get_robust_list, 0, &head, &length);
      syscall(SYS_exit_group, head == NULL ? 3 : 4);
    }
    int status = 0;
    waitpid(bare, &status, 0);
    _exit(WEXITSTATUS(status));
  }
  int status = 0;
  waitpid(child, &status, 0);
  result("a child has none", WEXITSTATUS(status), 3);

  pthread_t thread;
  pthread_create(&thread, NULL, own_list, NULL);
  pthread_join(thread, NULL);
  result("a lock on the list", raw.entries[0].word, FUTEX_OWNER_DIED);
  result("of somebody else", raw.entries[1].word, 77);
  result("the one that was being taken", raw.entries[2].word, FUTEX_OWNER_DIED | FUTEX_WAITERS);
  /* A list that never ends, and one that leads nowhere: the thread's end is only its own. */
  raw.entries[1].next = &raw.entries[0];
  child = fork();
  if (child == 0) {
    struct entry *ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ring->next = ring;
    struct head endless = {ring, offsetof(struct entry, word), NULL};
    syscall(SYS_set_robust_list, &endless, sizeof endless);
    pid_t next = fork();
    if (next == 0) {
      syscall(SYS_set_robust_list, BAD_POINTER, sizeof endless);
      _exit(0);
    }
    waitpid(next, &status, 0);
    _exit(status == 0 ? 5 : 6);
  }
  waitpid(child, &status, 0);
  result("lists without an end or a beginning", WEXITSTATUS(status), 5);
}

static uint32_t lock;
static uint32_t order[4];
static uint32_t taken;
static uint32_t ready;
static void *take_in_turn(void *argument) {
  uint32_t number = (uint32_t)(intptr_t)argument;
  long answer = futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  order[taken++] = number;
  if (answer == 0) futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  return (void *)answer;
}
static void *hold_and_end(void *argument) {
  long answer = futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
  if (argument != NULL) sleep_ms(60);
  return (void *)answer;
}
static void *hold_until(void *argument) {
  (void)argument;
  long answer = futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  __atomic_store_n(&ready, (uint32_t)tid(), __ATOMIC_SEQ_CST);
  wait_for(&ready, 0);
  futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  return (void *)answer;
}
static uint32_t other_lock;
static void *the_other_way(void *argument) {
  (void)argument;
  futex(&other_lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
  long answer = futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  if (answer == 0) futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  futex(&other_lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  return (void *)answer;
}
static atomic_int handled;
static void count_signal(int number) {
  (void)number;
  atomic_fetch_add(&handled, 1);
}

static void owned_locks(void) {
  pthread_t threads[4];
  void *value;
  result("FUTEX_LOCK_PI of a free lock", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  result("the word is the owner", lock, tid());
  fails("of one's own", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
  fails("FUTEX_TRYLOCK_PI of one's own", futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
  result("FUTEX_UNLOCK_PI", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  result("the word is 0", lock, 0);
  fails("of a free lock", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EPERM);
  fails("at a bad address", futex(BAD_POINTER, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EFAULT);
  result("FUTEX_TRYLOCK_PI of a free lock", futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  for (int i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, take_in_turn, (void *)(intptr_t)(i + 1));
    sleep_ms(20);
  }
  result("others wait", lock, tid() | FUTEX_WAITERS);
  fails("FUTEX_WAKE on it", futex(&lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
  fails("FUTEX_REQUEUE from it", futex(&lock, FUTEX_REQUEUE_PRIVATE, 1, (void *)1, &other_lock, 0), EINVAL);
  result("unlock", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  long sum = 0;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], &value), sum += (intptr_t)value;
  result("all got it", sum, 0);
  truth("first come first served", order[0] == 1 && order[1] == 2 && order[2] == 3);
  truth("nobody owns it", (lock & FUTEX_TID_MASK) == 0);

  lock = 0;
  ready = 0;
  pthread_create(&threads[0], NULL, hold_until, NULL);
  for (int i = 0; i < 3000 && ready == 0; i++) sleep_ms(1);
  fails("FUTEX_TRYLOCK_PI of a held lock", futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EAGAIN);
  result("says that somebody waited", lock, ready | FUTEX_WAITERS);
  fails("FUTEX_UNLOCK_PI of another's", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), EPERM);
  struct timespec when = after(CLOCK_REALTIME, 20);
  double before = now_ms();
  fails("FUTEX_LOCK_PI until a time of the wall clock", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &when, NULL, 0), ETIMEDOUT);
  between("waits", now_ms() - before, 15, 2000);
  when = after(CLOCK_MONOTONIC, 20);
  before = now_ms();
  fails("FUTEX_LOCK_PI2 until a time", futex(&lock, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &when, NULL, 0), ETIMEDOUT);
  between("waits too", now_ms() - before, 15, 2000);
  when = after(CLOCK_REALTIME, 20);
  fails("and of the wall clock", futex(&lock, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &when, NULL, 0), ETIMEDOUT);
  fails("FUTEX_LOCK_PI takes no clock", futex(&lock, FUTEX_LOCK_PI_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &when, NULL, 0), ENOSYS);
  when.tv_nsec = 1000000000;
  fails("a bad time", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &when, NULL, 0), EINVAL);
  struct sigaction action = {.sa_handler = count_signal};
  sigaction(SIGALRM, &action, NULL);
  struct timespec soon = {0, 30000000};
  timer_t timer;
  timer_create(CLOCK_MONOTONIC, NULL, &timer);
  struct itimerspec once = {.it_value = soon};
  timer_settime(timer, 0, &once, NULL);
  when = after(CLOCK_REALTIME, 120);
  before = now_ms();
  fails("a handler runs", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &when, NULL, 0), ETIMEDOUT);
  between("and waiting goes on, without SA_RESTART too", now_ms() - before, 100, 3000);
  result("it ran", atomic_load(&handled), 1);
  timer_delete(timer);
  __atomic_store_n(&ready, 0, __ATOMIC_SEQ_CST);
  pthread_join(threads[0], &value);

  lock = 0;
  other_lock = 0;
  ready = 0;
  futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  pthread_create(&threads[0], NULL, the_other_way, NULL);
  wait_for(&ready, 1);
  sleep_ms(30);
  fails("waiting for each other", futex(&other_lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), EDEADLK);
  futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  pthread_join(threads[0], &value);
  result("the other one gets it", (intptr_t)value, 0);

  lock = 0;
  ready = 0;
  pthread_create(&threads[0], NULL, hold_and_end, NULL);
  pthread_join(threads[0], &value);
  fails("a lock of a thread that is no more", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), ESRCH);
  lock = 0;
  ready = 0;
  pthread_create(&threads[0], NULL, hold_and_end, (void *)1);
  wait_for(&ready, 1);
  result("an owner that ends while this one waits", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  result("is told by the word", lock & ~FUTEX_WAITERS, (uint32_t)tid() | FUTEX_OWNER_DIED);
  pthread_join(threads[0], NULL);
  result("which can be unlocked", futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  lock = FUTEX_OWNER_DIED;
  result("a lock whose owner died", futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
  result("keeps the mark", lock, (uint32_t)tid() | FUTEX_OWNER_DIED);
  lock = 0;
}

static void owned_locks_between_processes(void) {
  int status = 0;
  shared->lock = 0;
  futex(&shared->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
  pid_t child = fork();
  if (child == 0) {
    long answer = futex(&shared->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    int mine = (shared->lock & FUTEX_TID_MASK) == (uint32_t)tid();
    shared->word += 5;
    futex(&shared->lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    _exit(answer == 0 && mine ? 7 : 8);
  }
  shared->word = 10;
  until_asleep(child);
  result("another process waits", shared->lock, (uint32_t)tid() | FUTEX_WAITERS);
  result("and gets it", futex(&shared->lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
  waitpid(child, &status, 0);
  result("by its own number", WEXITSTATUS(status), 7);
  result("with what was written before", shared->word, 15);
  shared->lock = 0;
  shared->turn = 0;
  child = fork();
  if (child == 0) {
    futex(&shared->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    __atomic_store_n(&shared->turn, 1, __ATOMIC_SEQ_CST);
    sleep_ms(60);
    raise(SIGKILL);
  }
  wait_for(&shared->turn, 1);
  result("a process is killed with it", futex(&shared->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
  result("which the word tells", shared->lock & ~FUTEX_WAITERS, (uint32_t)tid() | FUTEX_OWNER_DIED);
  waitpid(child, NULL, 0);
  futex(&shared->lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}

static uint32_t condition;
static atomic_int got;
static void *wait_and_lock(void *argument) {
  (void)argument;
  long answer = futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &lock, 0);
  if (answer != 0) return (void *)(intptr_t)errno;
  if ((lock & FUTEX_TID_MASK) != (uint32_t)tid()) return (void *)-1;
  atomic_fetch_add(&got, 1);
  futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  return NULL;
}
static void moving(void) {
  pthread_t threads[3];
  void *value;
  lock = 0;
  fails("FUTEX_WAIT_REQUEUE_PI on another value", futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 1, NULL, &lock, 0), EAGAIN);
  fails("from a word to itself", futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &condition, 0), EINVAL);
  struct timespec when = after(CLOCK_MONOTONIC, 15);
  fails("until a time", futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &when, &lock, 0), ETIMEDOUT);
  result("FUTEX_CMP_REQUEUE_PI of nobody", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &lock, 0), 0);
  fails("that wakes two", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)5, &lock, 0), EINVAL);
  fails("with another value", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &lock, 9), EAGAIN);
  for (int i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, wait_and_lock, NULL);
    sleep_ms(20);
  }
  fails("FUTEX_WAKE of those", futex(&condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
  fails("moving them to another lock", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &other_lock, 0), EINVAL);
  fails("moving them as if they were plain", futex(&condition, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)5, &lock, 0), EINVAL);
  futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  result("two go to a lock that is held", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &lock, 0), 2);
  result("nobody has it yet", atomic_load(&got), 0);
  futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
  pthread_join(threads[0], &value);
  pthread_join(threads[1], NULL);
  result("they get it", (intptr_t)value, 0);
  result("both", atomic_load(&got), 2);
  lock = 0;
  result("one goes to a lock that is free", futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)0, &lock, 0), 1);
  pthread_join(threads[2], &value);
  result("has it at once", (intptr_t)value, 0);
  result("all", atomic_load(&got), 3);
}

static uint32_t words[3];
static void *wake_second(void *argument) {
  (void)argument;
  sleep_ms(40);
  words[1] = 1;
  futex(&words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  return NULL;
}
static uint32_t plain;
static void *wait_plain(void *argument) {
  (void)argument;
  return (void *)futex(&plain, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}
static void many(void) {
  struct waitv list[3];
  for (int i = 0; i < 3; i++) list[i] = (struct waitv){0, (uintptr_t)&words[i], 2 | FUTEX_PRIVATE_FLAG, 0};
  pthread_t threads[3];
  pthread_create(&threads[0], NULL, wake_second, NULL);
  result("futex_waitv tells which", syscall(SYS_futex_waitv, list, 3, 0, NULL, CLOCK_MONOTONIC), 1);
  pthread_join(threads[0], NULL);
  fails("a value that differs", syscall(SYS_futex_waitv, list, 3, 0, NULL, CLOCK_MONOTONIC), EAGAIN);
  words[1] = 0;
  struct timespec when = after(CLOCK_MONOTONIC, 15);
  fails("until a time", syscall(SYS_futex_waitv, list, 3, 0, &when, CLOCK_MONOTONIC), ETIMEDOUT);
  fails("no words", syscall(SYS_futex_waitv, list, 0, 0, NULL, CLOCK_MONOTONIC), EINVAL);
  fails("too many", syscall(SYS_futex_waitv, list, 129, 0, NULL, CLOCK_MONOTONIC), EINVAL);
  fails("flags of the call", syscall(SYS_futex_waitv, list, 3, 1, NULL, CLOCK_MONOTONIC), EINVAL);
  fails("another clock", syscall(SYS_futex_waitv, list, 3, 0, &when, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
  list[2].reserved = 1;
  fails("what is reserved", syscall(SYS_futex_waitv, list, 3, 0, NULL, CLOCK_MONOTONIC), EINVAL);

  for (int i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, wait_plain, NULL);
    sleep_ms(15);
  }
  result("FUTEX_REQUEUE counts those that moved", futex(&plain, FUTEX_REQUEUE_PRIVATE, 1, (void *)1, &words[0], 0), 2);
  fails("FUTEX_UNLOCK_PI where others wait for no lock", ({
          plain = (uint32_t)tid();
          futex(&plain, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
        }),
        EINVAL);
  result("one is left", futex(&plain, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 1);
  result("one is there", futex(&words[0], FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 1);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  fails("FUTEX_WAIT takes no clock", futex(&plain, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 9, NULL, NULL, 0), ENOSYS);
  fails("FUTEX_WAKE where nothing is mapped", futex(BAD_POINTER, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
  result("FUTEX_WAKE_PRIVATE there", futex((uint32_t *)4096, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

/* Every form that programs use, over memory that two processes share. */
static void forms_between_processes(void) {
  int status = 0;
  static const int forms[] = {FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME};
  static const char *const names[] = {"FUTEX_WAIT", "FUTEX_WAIT_BITSET", "FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME"};
  char name[80];
  for (int form = 0; form < 3; form++) {
    shared->word = 0;
    pid_t child = fork();
    if (child == 0) {
      struct timespec until = form == 0 ? (struct timespec){20, 0} : after(form == 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME, 20000);
      _exit(futex(&shared->word, forms[form], 0, &until, NULL, 4) == 0 && shared->word == 3 ? 9 : errno);
    }
    until_asleep(child);
    shared->word = 3;
    if (form > 0) {
      snprintf(name, sizeof name, "%s in another process, other bits", names[form]);
      result(name, futex(&shared->word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 3), 0);
    }
    snprintf(name, sizeof name, "%s in another process", names[form]);
    result(name, form == 0 ? futex(&shared->word, FUTEX_WAKE, 1, NULL, NULL, 0) : futex(&shared->word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 4), 1);
    waitpid(child, &status, 0);
    result("which goes on", WEXITSTATUS(status), 9);
  }
  shared->word = 0;
  shared->turn = 0;
  pid_t child = fork();
  if (child == 0) _exit(futex(&shared->word, FUTEX_WAIT, 0, NULL, NULL, 0) == 0 ? 11 : errno);
  until_asleep(child);
  result("moved to another word", futex(&shared->word, FUTEX_CMP_REQUEUE, 0, (void *)1, &shared->turn, 0), 1);
  result("and woken by FUTEX_WAKE_OP", futex(&shared->lock, FUTEX_WAKE_OP, 1, (void *)1, &shared->turn, FUTEX_OP(FUTEX_OP_SET, 6, FUTEX_OP_CMP_EQ, 0)), 1);
  result("which sets the word", shared->turn, 6);
  waitpid(child, &status, 0);
  result("in the other process", WEXITSTATUS(status), 11);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "end") == 0) return 0;
  guest_begin();
  alarm(50);
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  lists();
  robust_mutexes(0);
  robust_mutexes(1);
  owned_locks();
  owned_locks_between_processes();
  moving();
  many();
  forms_between_processes();
  return guest_end();
}
