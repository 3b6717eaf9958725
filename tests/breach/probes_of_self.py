"""What a stranger tries with what the worker has: its pipes, memory and machine."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import select
import socket

from tests.breach.probing import (
    HEAP,
    LIBC,
    PAGE,
    About,
    call,
    found_secret,
    mapped,
    memory_of,
    path_of,
    probe,
    raw,
)

# --- tricks with descriptors --------------------------------------------------------------------

raw("descriptors", "dup", 32, 4)
raw("descriptors", "dup2", 33, 4, 0)
raw("descriptors", "dup3", 292, 4, 7, 0)
raw("descriptors", "fcntl_dup", 72, 4, 0, 0)
raw("descriptors", "fcntl_nonblocking", 72, 4, 4, os.O_NONBLOCK)
raw("descriptors", "pipe_size", 72, 4, 1031, PAGE)
raw("descriptors", "owner_of_the_pipe", 72, 3, 8, 1)
raw("descriptors", "pending_bytes", 16, 3, 0x541B, HEAP)
raw("descriptors", "type_into_the_terminal", 16, 0, 0x5412, ctypes.c_char_p(b"x"), is_tame=False)
raw("descriptors", "fstat", 5, 4, HEAP)
raw("descriptors", "fchmod", 91, 4, 0o777)
raw("descriptors", "seek", 8, 0, 0, 0)
raw("descriptors", "pipe", 22, HEAP)
raw("descriptors", "eventfd", 290, 0, 0)
raw("descriptors", "epoll", 291, 0)
raw("descriptors", "signalfd", 289, -1, HEAP, 8, 0)
raw("descriptors", "vectored_write", 20, 4, HEAP, 0)
raw("descriptors", "vectored_read", 19, 3, HEAP, 0)
raw("descriptors", "close_range", 436, 100, 200, 0)
raw("descriptors", "write_to_input", 1, 0, HEAP, 1)
raw("descriptors", "write_to_output", 1, 1, HEAP, 1)
raw("descriptors", "write_to_errors", 1, 2, HEAP, 1)
raw("descriptors", "write_to_requests", 1, 3, HEAP, 1)
raw("descriptors", "read_replies", 0, 4, HEAP, 1)
raw("descriptors", "read_the_null_device", 0, 0, HEAP, 0)
raw("descriptors", "read_by_a_word_too_wide", 0, 0x1_0000_0000, HEAP, 0)


@probe("descriptors")
def splice_requests_to_replies(about: About) -> str | None:
    return f"spliced {call(275, 3, None, 4, None, 1, 2)}"


@probe("descriptors")
def tee(about: About) -> str | None:
    return f"doubled {call(276, 3, 4, 1, 2)}"


@probe("descriptors")
def give_memory_to_the_pipe(about: About) -> str | None:
    piece = (ctypes.c_uint64 * 2)(ctypes.addressof(HEAP), 0)
    return f"gave {call(278, 4, ctypes.byref(piece), 1, 0)}"


@probe("descriptors")
def send_a_file_descriptor(about: About) -> str | None:
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [4])
    return f"sent {socket.recv_fds(theirs, 1, 1)[1]}"


@probe("descriptors")
def wait_for_requests(about: About) -> str | None:
    return f"polled {select.select([3], [], [], 0)}"


@probe("descriptors")
def any_file_that_was_left_open(about: About) -> str | None:
    for fd in range(5, 64):
        try:
            content = os.pread(fd, 1000, 0)
        except OSError:
            continue
        if found := found_secret(content):
            return found
    return None


@probe("processes", is_tame=False)
def crash(about: About) -> str | None:
    LIBC.abort()
    return "survived its own crash"


@probe("descriptors")
def close_both_pipes(about: About) -> str | None:
    os.close(3)
    os.close(4)
    return None


# --- what came with the start -------------------------------------------------------------------


@probe("start")
def own_environment(about: About) -> str | None:
    return found_secret("\n".join(os.environ.values()).encode())


@probe("start")
def own_environment_as_the_kernel_has_it(about: About) -> str | None:
    with open("/proc/self/environ", "rb") as file:
        return found_secret(file.read())


@probe("start")
def own_memory(about: About) -> str | None:
    return memory_of("self")


# --- memory -------------------------------------------------------------------------------------


@probe("memory")
def more_than_the_budget(about: About) -> str | None:
    size = about["memory_mb"] * 1024 * 1024 + 16 * 1024 * 1024
    return f"{len(bytearray(size))} bytes"


@probe("memory")
def much_address_space(about: About) -> str | None:
    return f"a terabyte at {len(mmap.mmap(-1, 1 << 40, flags=0x4022))}"


@probe("memory", is_tame=False)
def huge_pages(about: About) -> str | None:
    return f"huge pages at {mapped(3, 0x40022):x}"


raw("memory", "lock_all", 151, 1)
raw("memory", "lock_a_page", 149, HEAP, 1)
raw("memory", "populate_by_lock", 9, 0, PAGE, 3, 0x2022, -1, 0)


@probe("memory")
def write_a_large_file(about: About) -> str | None:
    with open(path_of(about, "large"), "wb") as file:
        file.write(b"x" * PAGE)
    return "a file of a page"


# --- tricks with the machine --------------------------------------------------------------------


def _code(content: bytes) -> int | None:
    """Put machine code into memory before any lock; None where that machine is another."""
    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(content)
    KEPT.append(page)
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


KEPT: list[mmap.mmap] = []
# A gift that no script has: code of its own, there before the lock. mov eax, 20; int 0x80; ret
OLD_CALL = _code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")


@probe("machine", is_tame=False)
def call_of_the_32_bit_machine(about: About) -> str | None:
    """Number 20 is getpid there and writev here: the filter must look at the machine first."""
    assert OLD_CALL is not None
    return f"process {ctypes.CFUNCTYPE(ctypes.c_int)(OLD_CALL)()}"


raw("machine", "call_of_the_x32_machine", 0x4000_0000 | 39)
raw("machine", "write_of_the_x32_machine", 0x4000_0000 | 1, 1, HEAP, 1)
raw("machine", "number_beyond_all", 100_000)
raw("machine", "number_below_zero", -2)
raw("machine", "thread_area", 158, 0x1003, HEAP)
raw("machine", "protection_key", 330, 0, 0, is_tame=False)
raw("machine", "new_stack_for_others", 453, 0, PAGE, 0, is_tame=False)
raw("machine", "own_usage", 98, 0, HEAP)


@probe("machine")
def get_own_owner(about: About) -> str | None:
    return f"user {os.getuid()}, parent {os.getppid()}"
