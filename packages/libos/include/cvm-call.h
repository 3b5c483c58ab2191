/*
 * Functions of one cVM that another one calls (CP_Call), for C. A call is capability instructions alone: no system call, no other thread.
 *
 *   static long add(long a, long b, long c, long d) { return a + b; }
 *   cvm_serve("sum", add);                   in one cVM: the thread waits for calls, and comes back with an error only
 *
 *   cvm_call sum;                            in another one
 *   cvm_call_open(&sum, "sum");
 *   cvm_call4(&sum, 1, 2, 0, 0);             3
 *
 * The function runs in its own cVM, on a thread that serves: with its memory, its files, its signals. Several threads may serve one name. What is left of the arguments' and the
 * result's 64 bits is the two cVMs' business: a negative errno from cvm_call4 may come from the function too. Errors of the call: -EAGAIN when all threads that serve are in calls or
 * nobody serves, -ECANCELED when the callee died or the object was taken away, -EINTR when a signal came (the function goes on, its result is dropped).
 *
 * A caller can lend two buffers, which the function copies from and to as long as the call lasts.
 */
#ifndef CVM_CALL_H
#define CVM_CALL_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* An opened function. */
typedef struct {
	/* Where the cVM's capabilities show the pair that calls it. */
	unsigned long code, data;
	long handle;
	int fd;
} cvm_call;

/* Bytes of the caller: what the function may do with them is CVM_IN (read), CVM_OUT (write) or both. */
typedef struct {
	void *at;
	unsigned long length;
	unsigned long rights;
} cvm_buffer;
#define CVM_IN 4ul
#define CVM_OUT 8ul

/* Instructions of capabilities that assemblers do not know; registers by their integer names. */
#define CVM_LC(cd, rs) ".insn i 0x0f, 2, " #cd ", " #rs ", 0\n"
#define CVM_GETTAG(rd, cs) ".insn r 0x5b, 0, 0x7f, " #rd ", " #cs ", x4\n"
#define CVM_MOVE(cd, cs) ".insn r 0x5b, 0, 0x7f, " #cd ", " #cs ", x10\n"
#define CVM_INVOKE(code, data) ".insn r 0x5b, 0, 0x7e, x1, " #code ", " #data "\n"
#define CVM_JUMP(link, cs) ".insn r 0x5b, 0, 0x7f, " #link ", " #cs ", x12\n"
#define CVM_PCC(cd) ".insn r 0x5b, 0, 0x01, " #cd ", x0, x0\n"
#define CVM_DDC(cd) ".insn r 0x5b, 0, 0x01, " #cd ", x0, x1\n"
#define CVM_OFFSET(cd, cs, rs) ".insn r 0x5b, 0, 0x0f, " #cd ", " #cs ", " #rs "\n"
#define CVM_ADVANCE(cd, cs, rs) ".insn r 0x5b, 0, 0x11, " #cd ", " #cs ", " #rs "\n"
#define CVM_BOUNDS(cd, cs, rs) ".insn r 0x5b, 0, 0x08, " #cd ", " #cs ", " #rs "\n"
#define CVM_PERMS(cd, cs, rs) ".insn r 0x5b, 0, 0x0d, " #cd ", " #cs ", " #rs "\n"
#define CVM_GETLEN(rd, cs) ".insn r 0x5b, 0, 0x7f, " #rd ", " #cs ", x3\n"
#define CVM_LB(rd, cs) ".insn r 0x5b, 0, 0x7d, " #rd ", " #cs ", x12\n"
#define CVM_LD(rd, cs) ".insn r 0x5b, 0, 0x7d, " #rd ", " #cs ", x11\n"
#define CVM_SB(rs, cs) ".insn r 0x5b, 0, 0x7c, x8, " #cs ", " #rs "\n"
#define CVM_SD(rs, cs) ".insn r 0x5b, 0, 0x7c, x11, " #cs ", " #rs "\n"

/* Loads the pair, or asks for it, and calls. s0 may be a frame pointer: it is kept on the stack. */
#define CVM_CALL_TEXT                                                                                                                             \
	"addi sp, sp, -16\n"                                                                                                                      \
	"sd s0, 0(sp)\n" CVM_LC(t1, t1) CVM_LC(t2, t2) CVM_GETTAG(t3, t2) "bnez t3, 1f\n"                                                          \
	"mv t3, a0\nmv t4, a1\n" CVM_MOVE(s1, a4) CVM_MOVE(s2, a5) "mv s3, a2\nmv s4, a3\n"                                                        \
	"mv a0, t0\nli a7, 0x4356\necall\n" CVM_MOVE(t1, a0) CVM_MOVE(t2, a1) CVM_MOVE(a4, s1) CVM_MOVE(a5, s2)                                    \
	"mv s1, zero\nmv s2, zero\n" CVM_GETTAG(t5, t1) "bnez t5, 3f\n"                                                                            \
	"mv a4, zero\nmv a5, zero\nj 2f\n"                                                                                                         \
	"3: mv a0, t3\nmv a1, t4\nmv a2, s3\nmv a3, s4\n"                                                                                          \
	"1: lla t3, 2f\n" CVM_PCC(ra) CVM_OFFSET(ra, ra, t3) CVM_INVOKE(t1, t2)                                                                    \
	"2: mv ra, zero\n"                                                                                                                        \
	"ld s0, 0(sp)\n"                                                                                                                          \
	"addi sp, sp, 16\n"

/* Calls with four numbers. */
static inline long cvm_call4(const cvm_call *call, long a, long b, long c, long d)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = 0;
	register long a5 __asm__("a5") = 0;
	register long t0 __asm__("t0") = call->handle;
	register long t1 __asm__("t1") = call->code;
	register long t2 __asm__("t2") = call->data;
	__asm__ volatile("" : "+r"(t0), "+r"(t1), "+r"(t2));
	__asm__ volatile(CVM_CALL_TEXT
			 : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4), "+r"(a5), "+r"(t0), "+r"(t1), "+r"(t2)
			 :
			 : "a6", "a7", "t3", "t4", "t5", "t6", "ra", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "ft0", "ft1",
			   "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "ft8", "ft9", "ft10", "ft11", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6",
			   "fa7", "fs0", "fs1", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "memory");
	return a0;
}


/* __cvm_call_lend(a, b, c, d, first buffer, second buffer, call): buffers may be null. */
__asm__(".text\n"
	".weak __cvm_call_lend\n"
	".type __cvm_call_lend, @function\n"
	"__cvm_call_lend:\n"
	"addi sp, sp, -208\n"
	".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"
	"sd s\\n, 8*\\n(sp)\n"
	".endr\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"
	"fsd fs\\n, 96+8*\\n(sp)\n"
	".endr\n"
	"sd ra, 192(sp)\n"
	".irp r, a4, a5\n"
	"beqz \\r, 17f\n"
	"ld t0, 0(\\r)\n"
	"ld t1, 8(\\r)\n"
	"ld t2, 16(\\r)\n" CVM_DDC(t3) CVM_ADVANCE(t3, t3, t0) CVM_BOUNDS(t3, t3, t1) CVM_PERMS(t3, t3, t2) ".insn r 0x5b, 0, 0x7f, \\r, t3, x10\n"
	"mv t3, zero\n"
	"17:\n"
	".endr\n"
	"ld t1, 0(a6)\n"
	"ld t2, 8(a6)\n"
	"ld t0, 16(a6)\n" CVM_CALL_TEXT
	"ld ra, 192(sp)\n"
	".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"
	"ld s\\n, 8*\\n(sp)\n"
	".endr\n"
	".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"
	"fld fs\\n, 96+8*\\n(sp)\n"
	".endr\n"
	"addi sp, sp, 208\n"
	"ret\n"

	/* __cvm_serve(handle, function, where the gate of returns is shown) */
	".weak __cvm_serve\n"
	".type __cvm_serve, @function\n"
	"__cvm_serve:\n"
	"addi sp, sp, -16\n"
	"sd a1, 0(sp)\n"
	"sd a2, 8(sp)\n"
	"lla a1, 4f\n"
	"li a7, 0x4358\n"
	"ecall\n"
	"addi sp, sp, 16\n"
	"ret\n"
	/* Each call begins here. Capabilities in registers make code slow: they are fetched again where they are used. */
	"4: mv ra, zero\n"
	"mv t0, zero\n"
	"mv a4, zero\n"
	"mv a5, zero\n"
	"ld t1, 0(sp)\n"
	"jalr t1\n"
	"mv a1, zero\n"
	"ld t0, 8(sp)\n" CVM_LC(ra, t0) CVM_GETTAG(t1, ra)
	"bnez t1, 5f\n"
	"mv s1, a0\n"
	"li a0, -2\n"
	"li a7, 0x4356\n"
	"ecall\n" CVM_MOVE(ra, a0)
	"mv a0, s1\n"
	"5:\n" CVM_JUMP(x0, ra)

	/* __cvm_lent(which, offset, local, length, write, where the gate of buffers is shown) */
	".weak __cvm_lent\n"
	".type __cvm_lent, @function\n"
	"__cvm_lent:\n"
	"addi sp, sp, -16\n"
	"sd ra, 0(sp)\n"
	"mv a6, a4\n" CVM_LC(t2, a5) CVM_GETTAG(t1, t2)
	"bnez t1, 6f\n"
	"mv t3, a0\n"
	"mv t4, a1\n"
	"mv t5, a2\n"
	"sd a3, 8(sp)\n"
	"li a0, -2\n"
	"li a7, 0x4356\n"
	"ecall\n" CVM_MOVE(t2, a1)
	"mv a0, t3\n"
	"mv a1, t4\n"
	"mv a2, t5\n"
	"ld a3, 8(sp)\n"
	"6:\n" CVM_JUMP(ra, t2)
	"mv t2, zero\n"
	"beqz a0, 7f\n" CVM_MOVE(a4, a5)
	"7: mv a5, zero\n"
	"li a0, -9\n" CVM_GETTAG(t1, a4)
	"beqz t1, 12f\n" CVM_GETLEN(t1, a4)
	"li a0, 0\n"
	"bgeu a1, t1, 12f\n"
	"sub t1, t1, a1\n"
	"bleu a3, t1, 8f\n"
	"mv a3, t1\n"
	"8: mv a0, a3\n" CVM_ADVANCE(a4, a4, a1)
	"li t2, 8\n"
	"li t3, 1\n"
	"9: bltu a3, t2, 10f\n"
	"bnez a6, 13f\n" CVM_LD(t1, a4)
	"sd t1, 0(a2)\n"
	"j 14f\n"
	"13: ld t1, 0(a2)\n" CVM_SD(t1, a4)
	"14: addi a2, a2, 8\n"
	"addi a3, a3, -8\n" CVM_ADVANCE(a4, a4, t2)
	"j 9b\n"
	"10: beqz a3, 12f\n"
	"bnez a6, 15f\n" CVM_LB(t1, a4)
	"sb t1, 0(a2)\n"
	"j 16f\n"
	"15: lbu t1, 0(a2)\n" CVM_SB(t1, a4)
	"16: addi a2, a2, 1\n"
	"addi a3, a3, -1\n" CVM_ADVANCE(a4, a4, t3)
	"j 10b\n"
	"12: mv a4, zero\n"
	"ld ra, 0(sp)\n"
	"addi sp, sp, 16\n"
	"ret\n");
long __cvm_call_lend(long, long, long, long, const cvm_buffer *, const cvm_buffer *, const cvm_call *);
long __cvm_serve(long, long (*)(long, long, long, long), unsigned long);
long __cvm_lent(long, unsigned long, void *, unsigned long, long, unsigned long);

/* Where the capability with a number of the cVM's table is shown; those beyond the page are asked for. */
static inline unsigned long cvm_shown(long number)
{
	return getauxval(AT_SYSINFO_EHDR) - 0x2000 + 16 * (number > 0 && number < 256 ? number : 0);
}
/* Numbers of the two capabilities that a number stands for (-2: the gates); a negative errno. */
static inline long cvm_pair(long number, unsigned long *first, unsigned long *second)
{
	register long a0 __asm__("a0") = number;
	register long a1 __asm__("a1");
	register long a2 __asm__("a2");
	register long a3 __asm__("a3");
	register long a7 __asm__("a7") = 0x4356;
	long tag;
	__asm__ volatile("ecall\n"
			 ".insn r 0x5b, 0, 0x7f, %[tag], a0, x4\n"
			 "mv a0, a0\n"
			 "mv a1, a1\n"
			 : "+r"(a0), "=r"(a1), "=r"(a2), "=r"(a3), [tag] "=&r"(tag)
			 : "r"(a7)
			 : "memory");
	if (!tag)
		return a0;
	*first = cvm_shown(a2);
	*second = cvm_shown(a3);
	return 0;
}

/* Opens the function `name` to be called. 0, or a negative errno. */
static inline int cvm_call_open_as(cvm_call *call, const char *name, int flags)
{
	char path[192];
	long error;
	if (snprintf(path, sizeof path, "/cp/call/%s", name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	call->fd = open(path, flags | O_CLOEXEC);
	if (call->fd < 0)
		return -errno;
	call->handle = ioctl(call->fd, 0x4301, 0);
	error = call->handle < 0 ? -errno : cvm_pair(flags == O_RDONLY ? call->handle : -2, &call->code, &call->data);
	if (error < 0)
		close(call->fd);
	return error;
}
static inline int cvm_call_open(cvm_call *call, const char *name)
{
	return cvm_call_open_as(call, name, O_RDONLY);
}
static inline int cvm_call_close(cvm_call *call)
{
	return close(call->fd) < 0 ? -errno : 0;
}
/* The same as cvm_call4, with buffers that may be null. */
static inline long cvm_call_lend(const cvm_call *call, long a, long b, long c, long d, const cvm_buffer *first, const cvm_buffer *second)
{
	return __cvm_call_lend(a, b, c, d, first, second, call);
}

/* The thread waits for calls of `name`, and runs `function` for each. A negative errno when it serves no longer: -EINTR after a signal. */
static inline long cvm_serve(const char *name, long (*function)(long, long, long, long))
{
	cvm_call call;
	long error = cvm_call_open_as(&call, name, O_WRONLY);
	if (error < 0)
		return error;
	error = __cvm_serve(call.handle, function, call.code);
	cvm_call_close(&call);
	return error;
}
/* In such a function: copies from and to the caller's first (0) or second (1) buffer. How many bytes, fewer at its end, -EBADF without one. */
static inline long cvm_lent(int which, unsigned long offset, void *local, unsigned long length, int write)
{
	static unsigned long first, gate;
	long error = gate ? 0 : cvm_pair(-2, &first, &gate);
	return error < 0 ? error : __cvm_lent(which, offset, local, length, write, gate);
}
static inline long cvm_lent_read(int which, unsigned long offset, void *to, unsigned long length)
{
	return cvm_lent(which, offset, to, length, 0);
}
static inline long cvm_lent_write(int which, unsigned long offset, const void *from, unsigned long length)
{
	return cvm_lent(which, offset, (void *)from, length, 1);
}

#endif
