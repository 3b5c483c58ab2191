/* pthreads over clone and futex: join, mutexes, condition variables, TLS, semaphores, barriers, cancellation; futex itself. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sched.h>
#include <limits.h>
#include <sys/mman.h>

static long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout, uint32_t *second, uint32_t third) {
  return syscall(SYS_futex, word, operation, value, timeout, second, third);
}

static __thread int local = 5;
static atomic_int counter;
static int guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int turn;

static void *add(void *argument) {
  local += (int)(intptr_t)argument;
  for (int i = 0; i < 2000; i++) {
    atomic_fetch_add(&counter, 1);
    pthread_mutex_lock(&mutex);
    int old = guarded;
    if (i % 100 == 0) sched_yield();
    guarded = old + 1;
    pthread_mutex_unlock(&mutex);
  }
  return (void *)(intptr_t)local;
}

static void *alternate(void *argument) {
  int mine = (int)(intptr_t)argument;
  for (int i = 0; i < 200; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != mine) pthread_cond_wait(&condition, &mutex);
    turn = 1 - mine;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static pid_t thread_pid, thread_tid;
static void *identity(void *argument) {
  (void)argument;
  thread_pid = getpid();
  thread_tid = (pid_t)syscall(SYS_gettid);
  return NULL;
}

static uint32_t word;
static atomic_int waiting;
static void *wait_on_word(void *argument) {
  (void)argument;
  atomic_fetch_add(&waiting, 1);
  long answer = futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  return (void *)(intptr_t)(answer == 0 ? 0 : errno);
}

static sem_t semaphore;
static void *wait_semaphore(void *argument) {
  (void)argument;
  sem_wait(&semaphore);
  return (void *)1;
}

static pthread_barrier_t barrier;
static void *meet(void *argument) {
  (void)argument;
  return (void *)(intptr_t)(pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
}

static int cleaned;
static void clean(void *argument) {
  cleaned += (int)(intptr_t)argument;
}
static void *cancelled(void *argument) {
  (void)argument;
  pthread_cleanup_push(clean, (void *)1);
  for (;;) sleep_ms(1000);
  pthread_cleanup_pop(0);
  return NULL;
}

static pthread_key_t key;
static atomic_int destroyed;
static void destroy(void *value) {
  atomic_fetch_add(&destroyed, (int)(intptr_t)value);
}
static void *use_key(void *argument) {
  pthread_setspecific(key, argument);
  return pthread_getspecific(key);
}

static int once_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void only_once(void) {
  once_count++;
}
static void *call_once(void *argument) {
  pthread_once(&once, only_once);
  return argument;
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static void *exit_early(void *argument) {
  pthread_exit(argument);
}

static void *end_process(void *argument) {
  exit((int)(intptr_t)argument);
}

static pthread_t signalled;
static atomic_int handled;
static void on_signal(int number) {
  (void)number;
  atomic_store(&handled, pthread_equal(pthread_self(), signalled) ? 1 : 2);
}
static void *until_signal(void *argument) {
  (void)argument;
  atomic_fetch_add(&waiting, 1);
  while (!atomic_load(&handled)) sched_yield();
  return NULL;
}

int main(void) {
  guest_begin();
  pthread_t threads[8];
  void *value;
  for (int i = 0; i < 4; i++) result(i == 0 ? "pthread_create" : "another", pthread_create(&threads[i], NULL, add, (void *)(intptr_t)i), 0);
  long sum = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], &value);
    sum += (intptr_t)value;
  }
  result("thread-local variables", sum, 4 * 5 + 6);
  result("the main thread's own", local, 5);
  result("atomic additions", counter, 8000);
  result("additions under a mutex", guarded, 8000);
  pthread_create(&threads[0], NULL, alternate, (void *)0);
  pthread_create(&threads[1], NULL, alternate, (void *)1);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  result("two threads take turns by a condition variable", turn, 0);
  pthread_create(&threads[0], NULL, identity, NULL);
  pthread_join(threads[0], NULL);
  truth("a thread's pid and tid", thread_pid == getpid() && thread_tid != getpid() && thread_tid > 0);
  result("the main thread's tid", syscall(SYS_gettid), getpid());
  struct timespec when;
  clock_gettime(CLOCK_REALTIME, &when);
  when.tv_nsec += 20000000;
  if (when.tv_nsec >= 1000000000) when.tv_nsec -= 1000000000, when.tv_sec++;
  pthread_mutex_lock(&mutex);
  double before = now_ms();
  result("pthread_cond_timedwait", pthread_cond_timedwait(&condition, &mutex, &when), ETIMEDOUT);
  between("waits", now_ms() - before, 15, 2000);
  result("pthread_mutex_trylock of a held mutex", pthread_mutex_trylock(&mutex), EBUSY);
  pthread_mutex_unlock(&mutex);
  sem_init(&semaphore, 0, 0);
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, wait_semaphore, NULL);
  for (int i = 0; i < 3; i++) sem_post(&semaphore);
  sum = 0;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], &value), sum += (intptr_t)value;
  result("semaphores", sum, 3);
  fails("sem_trywait of 0", sem_trywait(&semaphore), EAGAIN);
  pthread_barrier_init(&barrier, NULL, 4);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, meet, NULL);
  sum = 0;
  for (int i = 0; i < 4; i++) pthread_join(threads[i], &value), sum += (intptr_t)value;
  result("a barrier lets all go and picks one", sum, 1);
  pthread_create(&threads[0], NULL, cancelled, NULL);
  sleep_ms(5);
  pthread_cancel(threads[0]);
  pthread_join(threads[0], &value);
  truth("pthread_cancel", value == PTHREAD_CANCELED && cleaned == 1);
  pthread_key_create(&key, destroy);
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, use_key, (void *)(intptr_t)(i + 1));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  result("keys are destroyed", destroyed, 6);
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, call_once, NULL);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  result("pthread_once", once_count, 1);
  pthread_rwlock_rdlock(&rwlock);
  result("two readers", pthread_rwlock_tryrdlock(&rwlock), 0);
  result("no writer beside", pthread_rwlock_trywrlock(&rwlock), EBUSY);
  pthread_rwlock_unlock(&rwlock);
  pthread_rwlock_unlock(&rwlock);
  pthread_create(&threads[0], NULL, exit_early, (void *)77);
  pthread_join(threads[0], &value);
  result("pthread_exit", (intptr_t)value, 77);
  int made = 0;
  for (int i = 0; i < 200; i++) {
    if (pthread_create(&threads[0], NULL, exit_early, (void *)(intptr_t)i) != 0) break;
    pthread_join(threads[0], &value);
    made += (intptr_t)value == i;
  }
  result("200 threads one after another", made, 200);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  atomic_store(&counter, 0);
  result("a detached thread with a small stack", pthread_create(&threads[0], &attributes, add, NULL), 0);
  for (int i = 0; i < 2000 && atomic_load(&counter) < 2000; i++) sleep_ms(1);
  result("runs to its end", counter, 2000);

  signal(SIGUSR1, on_signal);
  waiting = 0;
  pthread_create(&signalled, NULL, until_signal, NULL);
  while (!atomic_load(&waiting)) sched_yield();
  result("pthread_kill", pthread_kill(signalled, SIGUSR1), 0);
  pthread_join(signalled, NULL);
  result("reaches that thread", handled, 1);

  fails("futex wait on another value", futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
  struct timespec shortly = {0, 10000000};
  before = now_ms();
  fails("futex wait with a time-out", futex(&word, FUTEX_WAIT_PRIVATE, 0, &shortly, NULL, 0), ETIMEDOUT);
  between("lasts", now_ms() - before, 9, 2000);
  struct timespec wrong = {0, 1000000000};
  fails("futex wait with a bad time-out", futex(&word, FUTEX_WAIT_PRIVATE, 0, &wrong, NULL, 0), EINVAL);
  fails("futex at a bad address", futex(BAD_POINTER, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
  fails("futex at an odd address", futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
  fails("futex with a bad operation", futex(&word, 99, 0, NULL, NULL, 0), ENOSYS);
  fails("futex wait for no bits", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
  result("futex wake of nobody", futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
  waiting = 0;
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, wait_on_word, NULL);
  while (atomic_load(&waiting) < 3) sched_yield();
  sleep_ms(30);
  result("futex wakes one", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
  uint32_t other = 0;
  result("futex requeues two", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)(intptr_t)2, &other, 0), 2);
  result("none is left there", futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
  result("both are here", futex(&other, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 2);
  sum = 0;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], &value), sum += (intptr_t)value;
  result("all woke without an error", sum, 0);
  word = 7;
  result("FUTEX_WAKE_OP", futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 7)), 0);
  result("changes the word", word, 10);

  uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  if (child == 0) {
    sleep_ms(20);
    __atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
    futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
    _exit(0);
  }
  struct timespec long_time = {5, 0};
  long answer = futex(shared, FUTEX_WAIT, 0, &long_time, NULL, 0);
  truth("a futex between processes", (answer == 0 || errno == EAGAIN) && *shared == 1);
  waitpid(child, NULL, 0);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  truth("sched_getaffinity", sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= 1);

  child = fork();
  if (child == 0) {
    /* Only the forking thread is in the child; exit_group from a thread ends all. */
    pthread_create(&threads[0], NULL, until_signal, NULL);
    atomic_store(&handled, 0);
    pthread_create(&threads[1], NULL, end_process, (void *)21);
    for (;;) pause();
  }
  int status = 0;
  waitpid(child, &status, 0);
  result("exit in a thread ends the process", status, 21 << 8);
  return guest_end();
}
