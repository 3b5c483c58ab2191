/*
 * Buffers that cVMs of one host share by name (CP_File), for C. The data path is capability instructions in the vDSO, without a system call for up to 511 bytes.
 *
 *   cvm_file file;
 *   if (cvm_open(&file, "board", O_RDWR) < 0) ...
 *   cvm_write(&file, 0, "hello", 5);
 *   cvm_notify(&file);
 *
 * Functions return what they are named after, or a negative errno. Link with nothing.
 */
#ifndef CVM_H
#define CVM_H

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* An opened buffer: its file descriptor, for poll and close, and its number in the cVM's table of capabilities. */
typedef struct {
	int fd;
	long handle;
} cvm_file;

#define CVM_IOCTL_HANDLE 0x4301
#define CVM_IOCTL_NOTIFY 0x4302
#define CVM_IOCTL_CHANGES 0x4303

/* A function of the vDSO by name; null where there is none (not in a cVM). */
static inline void *cvm_symbol(const char *name)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *segment;
	const Elf64_Dyn *entry = 0;
	const Elf64_Sym *symbols = 0;
	const char *strings = 0;
	const Elf32_Word *hash = 0;
	unsigned i;
	if (!base)
		return 0;
	segment = (const Elf64_Phdr *)(base + header->e_phoff);
	for (i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			entry = (const Elf64_Dyn *)(base + segment[i].p_vaddr);
	for (; entry && entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_SYMTAB)
			symbols = (const Elf64_Sym *)(base + entry->d_un.d_ptr);
		if (entry->d_tag == DT_STRTAB)
			strings = base + entry->d_un.d_ptr;
		if (entry->d_tag == DT_HASH)
			hash = (const Elf32_Word *)(base + entry->d_un.d_ptr);
	}
	if (!symbols || !strings || !hash)
		return 0;
	for (i = 1; i < hash[1]; i++)
		if (!strcmp(strings + symbols[i].st_name, name))
			return (void *)(base + symbols[i].st_value);
	return 0;
}

#define CVM_FUNCTION(result, name, parameters, arguments, symbol)            \
	static inline result name parameters                                 \
	{                                                                    \
		static result(*function) parameters;                         \
		if (!function)                                               \
			*(void **)&function = cvm_symbol(symbol);            \
		return function ? function arguments : -ENOSYS;              \
	}
CVM_FUNCTION(long, cvm_handle_size, (long handle), (handle), "__vdso_cvm_size")
CVM_FUNCTION(long, cvm_handle_read, (long handle, unsigned long offset, void *to, unsigned long length), (handle, offset, to, length), "__vdso_cvm_read")
CVM_FUNCTION(long, cvm_handle_write, (long handle, unsigned long offset, const void *from, unsigned long length), (handle, offset, from, length), "__vdso_cvm_write")
CVM_FUNCTION(long, cvm_handle_swap, (long handle, unsigned long offset, unsigned expected, unsigned value), (handle, offset, expected, value), "__vdso_cvm_swap")
#undef CVM_FUNCTION

/* Opens the buffer `name` with O_RDONLY, O_WRONLY or O_RDWR. 0. */
static inline int cvm_open(cvm_file *file, const char *name, int flags)
{
	char path[192];
	if (snprintf(path, sizeof path, "/cp/file/%s", name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	file->fd = open(path, flags | O_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	file->handle = ioctl(file->fd, CVM_IOCTL_HANDLE, 0);
	if (file->handle < 0) {
		int error = errno;
		close(file->fd);
		return -error;
	}
	return 0;
}
static inline int cvm_close(cvm_file *file)
{
	return close(file->fd) < 0 ? -errno : 0;
}
/* Bytes that the buffer has. */
static inline long cvm_size(const cvm_file *file)
{
	return cvm_handle_size(file->handle);
}
/* Copies from and to an offset; how many bytes, fewer at the end. cvm_write: -ENOSPC at the end. */
static inline long cvm_read(const cvm_file *file, unsigned long offset, void *to, unsigned long length)
{
	return cvm_handle_read(file->handle, offset, to, length);
}
static inline long cvm_write(const cvm_file *file, unsigned long offset, const void *from, unsigned long length)
{
	return cvm_handle_write(file->handle, offset, from, length);
}
/* If the 32-bit number at `offset` is `expected` it becomes `value`, at once; what it was. */
static inline long cvm_swap(const cvm_file *file, unsigned long offset, unsigned expected, unsigned value)
{
	return cvm_handle_swap(file->handle, offset, expected, value);
}
/* Tells all that have it open; how often that was done by now. */
static inline long cvm_notify(const cvm_file *file)
{
	int changes = ioctl(file->fd, CVM_IOCTL_NOTIFY, 0);
	return changes < 0 ? -errno : changes;
}
/* How often that was done. */
static inline long cvm_changes(const cvm_file *file)
{
	int changes = ioctl(file->fd, CVM_IOCTL_CHANGES, 0);
	return changes < 0 ? -errno : changes;
}
/* Waits until it was done more than `seen` times, at most `timeout` milliseconds (-1: for ever); how often, or -ETIMEDOUT. */
static inline long cvm_wait(const cvm_file *file, long seen, int timeout)
{
	for (;;) {
		struct pollfd wait = { .fd = file->fd, .events = POLLPRI };
		long changes = cvm_changes(file);
		int ready;
		if (changes < 0 || changes > seen)
			return changes;
		ready = poll(&wait, 1, timeout);
		if (ready == 0)
			return -ETIMEDOUT;
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
}

#endif
