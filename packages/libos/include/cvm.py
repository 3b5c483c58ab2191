"""Buffers that cVMs of one host share by name (CP_File).

    import sys; sys.path.append("/cp/lib")
    import cvm
    with cvm.File("board", "r+") as board:
        board.write(0, b"hello")
        board.notify()

The data path is capability instructions in the vDSO, without a system call for up to 511 bytes. Errors are OSError.
"""

import ctypes
import fcntl
import os
import select

_HANDLE, _NOTIFY, _CHANGES = 0x4301, 0x4302, 0x4303
_MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY, "r+": os.O_RDWR}

try:
    _vdso = ctypes.CDLL("linux-vdso.so.1")
    _size, _read, _write, _swap = _vdso.__vdso_cvm_size, _vdso.__vdso_cvm_read, _vdso.__vdso_cvm_write, _vdso.__vdso_cvm_swap
except (OSError, AttributeError) as error:
    raise ImportError("cvm: this program does not run in a cVM") from error
for _function, _arguments in (
    (_size, [ctypes.c_long]),
    (_read, [ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong]),
    (_write, [ctypes.c_long, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong]),
    (_swap, [ctypes.c_long, ctypes.c_ulong, ctypes.c_uint, ctypes.c_uint]),
):
    _function.restype = ctypes.c_long
    _function.argtypes = _arguments


def _checked(result):
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class File:
    """An opened buffer. `mode`: "r", "w" or "r+"."""

    def __init__(self, name, mode="r"):
        self.fd = os.open("/cp/file/" + name, _MODES[mode] | os.O_CLOEXEC)
        self.handle = fcntl.ioctl(self.fd, _HANDLE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self):
        return _checked(_size(self.handle))

    def fileno(self):
        return self.fd

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = self.handle = -1

    def read(self, offset=0, length=None):
        """Bytes from `offset` on; fewer than `length` at the end."""
        if length is None:
            length = max(0, len(self) - offset)
        buffer = ctypes.create_string_buffer(length)
        count = _checked(_read(self.handle, offset, buffer, length))
        return buffer.raw[:count]

    def write(self, offset, data):
        """How many bytes were written; fewer at the end, where there is no room OSError ENOSPC."""
        return _checked(_write(self.handle, offset, bytes(data), len(data)))

    def swap(self, offset, expected, value):
        """If the 32-bit number at `offset` is `expected` it becomes `value`, at once. What it was."""
        return _checked(_swap(self.handle, offset, expected, value))

    def notify(self):
        """Tells all that have it open; how often that was done by now."""
        return fcntl.ioctl(self.fd, _NOTIFY)

    def changes(self):
        """How often that was done."""
        return fcntl.ioctl(self.fd, _CHANGES)

    def wait(self, seen, timeout=None):
        """Waits until it was done more than `seen` times, at most `timeout` seconds; how often, or TimeoutError."""
        poll = select.poll()
        poll.register(self.fd, select.POLLPRI)
        while (changes := self.changes()) <= seen:
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError(f"nobody notified of it in {timeout} s")
        return changes
