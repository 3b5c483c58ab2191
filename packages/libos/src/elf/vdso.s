# Code of the vDSO. `node --conditions=source scripts/vdso.ts` assembles it into vdso-code.ts; scripts/vdso.test.ts holds the two together.
#
# It stands at offset 0x800 of the object, and the page of clock offsets ([vvar]) at offset -0x1000 of it. That page holds, for each clock
# number below 16, what to add to the nanoseconds that the time register counts; 0: ask the system call.
#
# The functions take registers t0 … t3 and, as system calls do, a0 and a7. A bad pointer is a fault, as with Linux's.

text:
# int __vdso_clock_gettime(clockid_t clock, struct timespec *time)
__vdso_clock_gettime:
    sltiu t0, a0, 16
    beqz t0, call_clock_gettime
    lla t1, text - 0x1800
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
    lla t1, text - 0x1800
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
    lla t1, text - 0x1800
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

# Objects that cVMs share by name (CP_File). The page two below the object shows the cVM's capabilities by number, 16 bytes each; what is not
# there is asked of the monitor, which has a call of its own for that. The functions take registers t0 ... t5, a0 ... a3, a7 and capability registers among them, and leave no capability in one: code runs faster without.

# ct4 = the capability with the number in a0; a0 = 0, or -EBADF. Uses t1, t2.
fetch:
    blez a0, not_there
    lla t1, text - 0x2800
    li t2, 256
    bgeu a0, t2, ask
    slli t2, a0, 4
    add t1, t1, t2
    lc ct4, 0(t1)
    cgettag t1, ct4
    bnez t1, fetched
ask:
    li a7, 0x4356
    ecall
    cmove ct4, ca0
    cgettag t1, ct4
    beqz t1, not_there
fetched:
    # What is sealed is no buffer.
    cgetsealed t1, ct4
    bnez t1, not_there
    li a0, 0
    ret
not_there:
    li a0, -9
    ret

# After fetch: ct4 points to offset a1 of the buffer, a3 is cut at its end, t0 = a3. a0 = 0, -EACCES without the permissions in t3; or 1: nothing is left at
# that offset. Uses t1, t2.
locate:
    cgetperm t1, ct4
    and t1, t1, t3
    li a0, -13
    bne t1, t3, end_of_locate
    cgetlen t1, ct4
    li a0, 1
    bgeu a1, t1, end_of_locate
    sub t1, t1, a1
    bgeu t1, a3, fits
    mv a3, t1
fits:
    mv t0, a3
    cincoffset ct4, ct4, a1
    li a0, 0
end_of_locate:
    ret

# long __vdso_cvm_size(long handle): bytes of a shared buffer, or -EBADF
__vdso_cvm_size:
    mv t0, ra
    jal ra, fetch
    mv ra, t0
    bltz a0, end_of_size
    cgetlen a0, ct4
end_of_size:
    li t4, 0
    ret

# long __vdso_cvm_read(long handle, unsigned long offset, void *to, unsigned long length): copies out of a shared buffer. How many bytes, fewer at its end;
# -EBADF without such a capability, -EACCES without the right. Short copies are loads through the capability, without a trap; for long ones the monitor
# copies between the two capabilities.
__vdso_cvm_read:
    mv t0, ra
    jal ra, fetch
    bltz a0, read_leave
    mv t5, t0
    li t3, 4
    jal ra, locate
    mv ra, t5
    bltz a0, end_of_read
    bnez a0, read_nothing
    li t1, 512
    bltu a3, t1, read_words
read_by_call:
    cspecialrw ca0, ddc, cnull
    csetoffset ca0, ca0, a2
    cmove ca1, ct4
    mv t1, a2
    mv a2, a3
    li a7, 0x4357
    ecall
    blez a0, end_of_read
    add a2, t1, a0
    sub a3, a3, a0
    cincoffset ct4, ct4, a0
    bnez a3, read_by_call
    j read_done
read_words:
    li t1, 32
read_block:
    bltu a3, t1, read_rest
    ld.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    sd t2, 0(a2)
    ld.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    sd t2, 8(a2)
    ld.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    sd t2, 16(a2)
    ld.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    sd t2, 24(a2)
    addi a2, a2, 32
    addi a3, a3, -32
    j read_block
read_rest:
    li t1, 8
read_next:
    bltu a3, t1, read_bytes
    ld.cap t2, (ct4)
    sd t2, 0(a2)
    cincoffset ct4, ct4, 8
    addi a2, a2, 8
    addi a3, a3, -8
    j read_next
read_bytes:
    beqz a3, read_done
    lbu.cap t2, (ct4)
    sb t2, 0(a2)
    cincoffset ct4, ct4, 1
    addi a2, a2, 1
    addi a3, a3, -1
    j read_bytes
read_nothing:
    li t0, 0
read_done:
    mv a0, t0
end_of_read:
    li t4, 0
    li a1, 0
    ret
read_leave:
    mv ra, t0
    ret

# long __vdso_cvm_write(long handle, unsigned long offset, const void *from, unsigned long length): the same into a shared buffer; -ENOSPC at its end.
__vdso_cvm_write:
    mv t0, ra
    jal ra, fetch
    bltz a0, write_leave
    mv t5, t0
    li t3, 8
    jal ra, locate
    mv ra, t5
    bltz a0, end_of_write
    bnez a0, write_nothing
    li t1, 512
    bltu a3, t1, write_words
write_by_call:
    cspecialrw ca1, ddc, cnull
    csetoffset ca1, ca1, a2
    cmove ca0, ct4
    mv t1, a2
    mv a2, a3
    li a7, 0x4357
    ecall
    blez a0, end_of_write
    add a2, t1, a0
    sub a3, a3, a0
    cincoffset ct4, ct4, a0
    bnez a3, write_by_call
    j write_done
write_words:
    li t1, 32
write_block:
    bltu a3, t1, write_rest
    ld t2, 0(a2)
    sd.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    ld t2, 8(a2)
    sd.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    ld t2, 16(a2)
    sd.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    ld t2, 24(a2)
    sd.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    addi a2, a2, 32
    addi a3, a3, -32
    j write_block
write_rest:
    li t1, 8
write_next:
    bltu a3, t1, write_bytes
    ld t2, 0(a2)
    sd.cap t2, (ct4)
    cincoffset ct4, ct4, 8
    addi a2, a2, 8
    addi a3, a3, -8
    j write_next
write_bytes:
    beqz a3, write_done
    lbu t2, 0(a2)
    sb.cap t2, (ct4)
    cincoffset ct4, ct4, 1
    addi a2, a2, 1
    addi a3, a3, -1
    j write_bytes
write_nothing:
    beqz a3, write_done_zero
    li a0, -28
    ret
write_done_zero:
    li t0, 0
write_done:
    mv a0, t0
end_of_write:
    li t4, 0
    li a1, 0
    ret
write_leave:
    mv ra, t0
    ret

# long __vdso_cvm_swap(long handle, unsigned long offset, unsigned expected, unsigned value): if the 32-bit number at the offset, a multiple of 4, is `expected`, it becomes
# `value`, at once. What it was; -EBADF, -EACCES, or -EINVAL for an offset outside.
__vdso_cvm_swap:
    mv t0, ra
    jal ra, fetch
    mv ra, t0
    bltz a0, end_of_swap
    cgetperm t1, ct4
    andi t1, t1, 12
    li t2, 12
    li a0, -13
    bne t1, t2, end_of_swap
    li a0, -22
    andi t1, a1, 3
    bnez t1, end_of_swap
    cgetlen t1, ct4
    addi t1, t1, -3
    blez t1, end_of_swap
    bgeu a1, t1, end_of_swap
    cincoffset ct4, ct4, a1
    sext.w a2, a2
swap_again:
    lr.w.cap t1, (ct4)
    bne t1, a2, swap_other
    mv t2, a3
    sc.w.cap t2, (ct4)
    bnez t2, swap_again
swap_other:
    slli a0, t1, 32
    srli a0, a0, 32
end_of_swap:
    li t4, 0
    ret

# Signal handlers return here. Unwinders know the frame by these two instructions.
__vdso_rt_sigreturn:
    li a7, 139
    ecall
