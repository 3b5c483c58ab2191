/* CP_Call from C. cp-call serve [what]; cp-call call [what]; cp-call bench. */
#include "../../guests/guest.h"
#include <cvm-call.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static __thread long calls;
static double factor = 1.5;

/* Arithmetic, memory, files and time of the callee's own. */
static long work(long what, long a, long b, long c)
{
	char text[64], path[32];
	calls++;
	switch (what) {
	case 0:
		return a + 10 * b + 100 * c;
	case 1:
		return (long)(factor * (double)a) + (long)(strtod("2.25", 0) * 4);
	case 2:
		return getpid();
	case 3: {
		long length = cvm_lent_read(0, 0, text, sizeof text), i;
		for (i = 0; i < length / 2; i++) {
			char swapped = text[i];
			text[i] = text[length - 1 - i];
			text[length - 1 - i] = swapped;
		}
		return length < 0 ? length : cvm_lent_write(1, 0, text, length);
	}
	case 4:
		return cvm_lent_write(0, 0, "x", 1);
	case 5:
		usleep(20000);
		return calls;
	case 6: {
		FILE *file;
		snprintf(path, sizeof path, "/tmp/%ld", a);
		file = fopen(path, "w");
		if (!file)
			return -1;
		fprintf(file, "%ld", b);
		return fclose(file) ? -1 : unlink(path);
	}
	case 7:
		exit(3);
	case 8:
		return *(volatile int *)(a + 8);
	case 9: {
		int status;
		pid_t child = fork();
		if (!child)
			_exit(42);
		return waitpid(child, &status, 0) == child ? WEXITSTATUS(status) : -1;
	}
	case 10:
		for (;;)
			;
	}
	return 0;
}
static long empty(long a, long b, long c, long d)
{
	(void)b, (void)c, (void)d;
	return a;
}
static void *serve_too(void *name)
{
	return (void *)cvm_serve(name, work);
}
static int serve(const char *name)
{
	pthread_t thread;
	pthread_create(&thread, 0, serve_too, (void *)name);
	printf("serving\n");
	fflush(stdout);
	printf("%ld\n", cvm_serve(name, work));
	return 1;
}

static cvm_call sum;
static void *call_much(void *right)
{
	long i;
	for (i = 0; i < 2000; i++) {
		long got = cvm_call4(&sum, 0, i, 2, 3);
		if (got != i + 320 && got != -EAGAIN)
			*(int *)right = 0;
	}
	return 0;
}
static volatile sig_atomic_t alarms;
static void ring(int signal)
{
	(void)signal;
	alarms++;
}

static int call(void)
{
	char in[32] = "hello, other cVM", out[32] = "", big[200];
	cvm_buffer from = { in, 16, CVM_IN }, to = { out, sizeof out, CVM_OUT }, outside = { (void *)(1l << 40), 16, CVM_IN | CVM_OUT };
	cvm_call other;
	double before = 1.25;
	pthread_t threads[3];
	struct sigaction action = { .sa_handler = ring };
	int right = 1, i;
	long first;
	truth("open", cvm_call_open(&sum, "work") == 0);
	truth("no right to publish", cvm_serve("work", work) == -EACCES);
	truth("not granted", cvm_call_open(&other, "secret") == -ENOENT);
	truth("numbers", cvm_call4(&sum, 0, 1, 2, 3) == 321);
	truth("floating point on both sides", cvm_call4(&sum, 1, 10, 0, 0) == 24 && before * 4 == 5.0);
	first = cvm_call4(&sum, 2, 0, 0, 0);
	truth("it is another process", first > 0 && cvm_call4(&sum, 2, 0, 0, 0) == first);
	truth("buffers", cvm_call_lend(&sum, 3, 0, 0, 0, &from, &to) == 16 && !strcmp(out, "MVc rehto ,olleh"));
	memset(big, 'a', sizeof big);
	from.at = big;
	from.length = 5;
	truth("no more than was lent", cvm_call_lend(&sum, 3, 0, 0, 0, &from, &to) == 5 && !memcmp(out, "aaaaaehto", 9));
	truth("none", cvm_call4(&sum, 3, 0, 0, 0) == -EBADF);
	truth("its files", cvm_call4(&sum, 6, 77, 5, 0) == 0);
	truth("it forks", cvm_call4(&sum, 9, 0, 0, 0) == 42);
	truth("it sleeps", cvm_call4(&sum, 5, 0, 0, 0) > 0);
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], 0, call_much, &right);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], 0);
	truth("threads at the same time", right);
	if (!fork()) {
		call_much(&right);
		_exit(right ? 0 : 1);
	}
	wait(&i);
	truth("a forked child calls too", i == 0);
	sigaction(SIGALRM, &action, 0);
	ualarm(50000, 0);
	truth("giving up an endless call", cvm_call4(&sum, 10, 0, 0, 0) == -EINTR && alarms == 1);
	truth("another thread serves", cvm_call4(&sum, 0, 1, 0, 0) == 1);
	truth("what is not the caller's cannot be lent", cvm_call_lend(&sum, 3, 0, 0, 0, &outside, &to) == -EBADF);
	truth("buffers have rights: the callee dies, not the caller", cvm_call_lend(&sum, 4, 0, 0, 0, &from, 0) == -ECANCELED);
	truth("nobody is left", cvm_call4(&sum, 0, 1, 0, 0) == -EAGAIN);
	return 0;
}

enum { TURNS = 200000 };
static int bench(void)
{
	struct timespec start, end;
	long i, round, got = 0;
	if (cvm_call_open(&sum, "empty") < 0)
		return 1;
	for (round = 0; round < 6; round++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (i = 0; i < TURNS; i++)
			got += cvm_call4(&sum, 1, 0, 0, 0);
		clock_gettime(CLOCK_MONOTONIC, &end);
		printf("%.0f ns\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / TURNS);
	}
	return got == 6l * TURNS ? 0 : 2;
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	if (!strcmp(what, "serve"))
		return serve("work");
	if (!strcmp(what, "empty")) {
		printf("serving\n");
		fflush(stdout);
		return cvm_serve("empty", empty) < 0;
	}
	return !strcmp(what, "bench") ? bench() : call();
}
