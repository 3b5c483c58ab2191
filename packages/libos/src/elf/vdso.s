# Code of the vDSO. `node --conditions=source scripts/vdso.ts` assembles it into vdso-code.ts; scripts/vdso.test.ts holds the two together.
#
# It stands at offset 0x400 of the object, and the page of clock offsets ([vvar]) at offset -0x1000 of it. That page holds, for each clock
# number below 16, what to add to the nanoseconds that the time register counts; 0: ask the system call.
#
# The functions take registers t0 … t3 and, as system calls do, a0 and a7. A bad pointer is a fault, as with Linux's.

text:
# int __vdso_clock_gettime(clockid_t clock, struct timespec *time)
__vdso_clock_gettime:
    sltiu t0, a0, 16
    beqz t0, call_clock_gettime
    lla t1, text - 0x1400
    slli t0, a0, 3
    add t1, t1, t0
    ld t1, 0(t1)
    beqz t1, call_clock_gettime
    rdtime t0
    li t2, 100
    mul t0, t0, t2
    add t0, t0, t1
    li t2, 1000000000
    divu t1, t0, t2
    mul t3, t1, t2
    sub t0, t0, t3
    sd t1, 0(a1)
    sd t0, 8(a1)
    li a0, 0
    ret
call_clock_gettime:
    li a7, 113
    ecall
    ret

# int __vdso_gettimeofday(struct timeval *time, struct timezone *zone)
__vdso_gettimeofday:
    beqz a0, zone_of_day
    lla t1, text - 0x1400
    ld t1, 0(t1)
    beqz t1, call_gettimeofday
    rdtime t0
    li t2, 100
    mul t0, t0, t2
    add t0, t0, t1
    li t2, 1000000000
    divu t1, t0, t2
    mul t3, t1, t2
    sub t0, t0, t3
    li t2, 1000
    divu t0, t0, t2
    sd t1, 0(a0)
    sd t0, 8(a0)
zone_of_day:
    beqz a1, end_of_day
    sw zero, 0(a1)
    sw zero, 4(a1)
end_of_day:
    li a0, 0
    ret
call_gettimeofday:
    li a7, 169
    ecall
    ret

# int __vdso_clock_getres(clockid_t clock, struct timespec *resolution)
__vdso_clock_getres:
    sltiu t0, a0, 16
    beqz t0, call_clock_getres
    lla t1, text - 0x1400
    slli t0, a0, 3
    add t1, t1, t0
    ld t1, 0(t1)
    beqz t1, call_clock_getres
    li t2, 1
    addi t0, a0, -5
    sltiu t0, t0, 2
    beqz t0, not_coarse
    li t2, 4000000
not_coarse:
    beqz a1, end_of_getres
    sd zero, 0(a1)
    sd t2, 8(a1)
end_of_getres:
    li a0, 0
    ret
call_clock_getres:
    li a7, 114
    ecall
    ret

# int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
__vdso_getcpu:
    beqz a0, no_cpu
    sw zero, 0(a0)
no_cpu:
    beqz a1, no_node
    sw zero, 0(a1)
no_node:
    li a0, 0
    ret

# int __vdso_flush_icache(void *start, void *end, unsigned long flags)
__vdso_flush_icache:
    andi t0, a2, -2
    bnez t0, call_flush_icache
    fence.i
    li a0, 0
    ret
call_flush_icache:
    li a7, 259
    ecall
    ret

# Signal handlers return here. Unwinders know the frame by these two instructions.
__vdso_rt_sigreturn:
    li a7, 139
    ecall
