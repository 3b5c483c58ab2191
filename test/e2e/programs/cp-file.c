/* CP_File from C: run in a cVM that may read and write "board" (1 MiB, begins with "hello"), read "notice" and nothing of "secret". */
#include "../../guests/guest.h"
#include <cvm.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char out[1 << 20], in[1 << 20];

static void copies(void)
{
	cvm_file board;
	int right = 1;
	truth("open", cvm_open(&board, "board", O_RDWR) == 0);
	truth("size", cvm_size(&board) == 1 << 20);
	truth("preset content", cvm_read(&board, 0, in, 5) == 5 && !memcmp(in, "hello", 5));
	for (unsigned i = 0; i < sizeof out; i++)
		out[i] = i * 7 + i / 251;
	for (long length = 0; length <= 1200; length += length < 70 ? 1 : 37) {
		memset(in, 1, 1300);
		right &= cvm_write(&board, 3, out + 5, length) == length && cvm_read(&board, 3, in, length) == length;
		right &= !memcmp(out + 5, in, length) && in[length] == 1;
	}
	truth("copies of up to 1200 bytes", right);
	right = cvm_write(&board, 0, out, sizeof out) == sizeof out && cvm_read(&board, 0, in, sizeof in) == sizeof in;
	truth("all of it", right && !memcmp(out, in, sizeof in));
	truth("up to its end", cvm_write(&board, (1 << 20) - 3, "hello", 5) == 3 && cvm_read(&board, (1 << 20) - 3, in, 100) == 3);
	truth("behind its end", cvm_write(&board, 1 << 20, "x", 1) == -ENOSPC && cvm_read(&board, 1 << 20, in, 1) == 0 && cvm_read(&board, -1, in, 1) == 0);
	char *fresh = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	truth("into memory that was not used before", cvm_read(&board, 0, fresh, 1 << 19) == 1 << 19 && !memcmp(out, fresh, 1 << 19));
	mprotect(fresh, 1 << 20, PROT_READ);
	truth("not into memory that may not be written", cvm_read(&board, 0, fresh, 4096) == -EFAULT);
	truth("not from memory that is not there", cvm_write(&board, 0, (void *)8, 4096) == -EFAULT);
	truth("not beyond the address range", cvm_write(&board, 0, (void *)(1l << 40), 4096) < 0 && cvm_read(&board, 0, (void *)-4096l, 4096) < 0);
	truth("the same by the file", pread(board.fd, in, 100, 50) == 100 && !memcmp(in, out + 50, 100));
	truth("no mapping of it", mmap(0, 4096, PROT_READ, MAP_SHARED, board.fd, 0) == MAP_FAILED && errno == ENODEV);
	cvm_close(&board);
	truth("closed", cvm_handle_read(board.handle, 0, in, 1) == -EBADF);
}

static void rights(void)
{
	cvm_file notice, secret;
	struct stat status;
	truth("open with a right that is there", cvm_open(&notice, "notice", O_RDONLY) == 0);
	truth("no write with it", cvm_write(&notice, 0, "x", 1) == -EACCES && cvm_write(&notice, 0, out, 4096) == -EACCES);
	truth("no swap with it", cvm_swap(&notice, 0, 0, 1) == -EACCES);
	truth("no other way to write", write(notice.fd, "x", 1) == -1 && errno == EBADF);
	truth("open with a right that is not", cvm_open(&secret, "notice", O_RDWR) == -EACCES);
	truth("not granted at all", cvm_open(&secret, "secret", O_RDONLY) == -ENOENT && stat("/cp/file/secret", &status) == -1);
	truth("no such object", cvm_open(&secret, "nothing", O_RDONLY) == -ENOENT);
	truth("numbers that stand for nothing", cvm_handle_read(0, 0, in, 1) != 1 && cvm_handle_read(77, 0, in, 1) == -EBADF && cvm_handle_read(-5, 0, in, 1) < 0 && cvm_handle_size(1l << 40) == -EBADF);
	truth("mode of the file", stat("/cp/file/notice", &status) == 0 && (status.st_mode & 0777) == 0444 && status.st_size == 16);
	cvm_close(&notice);
}

static void swaps(void)
{
	cvm_file board;
	int status;
	cvm_open(&board, "board", O_RDWR);
	cvm_write(&board, 0, "\1\0\0\0", 4);
	truth("swap", cvm_swap(&board, 0, 1, 0xfffffff0) == 1);
	truth("swap of another number", cvm_swap(&board, 0, 1, 6) == 0xfffffff0l);
	truth("swap at no multiple of 4, and outside", cvm_swap(&board, 2, 1, 6) == -EINVAL && cvm_swap(&board, 1 << 20, 1, 6) == -EINVAL);
	pid_t child = fork();
	if (child == 0)
		_exit(cvm_swap(&board, 0, 0xfffffff0, 42) == 0xfffffff0l ? 0 : 1);
	waitpid(child, &status, 0);
	truth("a forked child has it too", status == 0 && cvm_swap(&board, 0, 42, 43) == 42);
	truth("nobody notified", cvm_wait(&board, 0, 10) == -ETIMEDOUT);
	truth("notify", cvm_notify(&board) == 1 && cvm_wait(&board, 0, 1000) == 1 && cvm_changes(&board) == 1);
	cvm_close(&board);
}

int main(void)
{
	copies();
	rights();
	swaps();
	return guest_end();
}
