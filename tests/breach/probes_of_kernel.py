"""What a stranger tries to get code to run, into the kernel, and out of its own locks."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import time

from tests.breach.probing import (
    HEAP,
    LIBC,
    PAGE,
    About,
    call,
    found_secret,
    mapped,
    path_of,
    probe,
    raw,
)

# --- executable memory --------------------------------------------------------------------------


@probe("code")
def map_memory_that_runs(about: About) -> str | None:
    return f"code at {mapped(7):x}"


@probe("code")
def map_memory_that_only_runs(about: About) -> str | None:
    return f"code at {mapped(4):x}"


@probe("code")
def make_memory_run(about: About) -> str | None:
    call(10, mapped(3), PAGE, 5)
    return "memory of its own runs"


@probe("code")
def make_memory_run_with_a_key(about: About) -> str | None:
    call(329, mapped(3), PAGE, 5, -1)
    return "memory of its own runs"


@probe("code")
def map_a_library_to_run(about: About) -> str | None:
    fd = os.open("/bin/sh", os.O_RDONLY)
    return f"code at {mapped(5, 0x02, fd):x}"


@probe("code")
def map_a_pipe(about: About) -> str | None:
    return f"a pipe at {mapped(1, 0x02, 3):x}"


@probe("code")
def make_all_memory_run(about: About) -> str | None:
    call(135, 0x0040_0000)
    return f"all memory runs: {mapped(3):x}"


@probe("code")
def make_own_code_writable_and_run_it(about: About) -> str | None:
    at = (ctypes.cast(LIBC.getppid, ctypes.c_void_p).value or 0) & ~(PAGE - 1)
    call(10, at, PAGE, 7)
    return "its code can be written and runs"


raw("code", "remap_file_pages", 216, 0, PAGE, 0, 0, 0, is_tame=False)


# --- other ways into the kernel -----------------------------------------------------------------

raw("kernel", "io_uring", 425, 8, HEAP)
raw("kernel", "bpf", 321, 0, HEAP, 48, for_root=True)
raw("kernel", "userfaultfd", 323, 1)
raw("kernel", "add_key", 248, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"x"), HEAP, 1, -2)
raw("kernel", "keyctl", 250, 0, -2, 1)
raw("kernel", "request_key", 249, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"x"), None, 0)
raw("kernel", "kexec_load", 246, 0, 0, None, 0, is_tame=False)
raw("kernel", "init_module", 175, None, 0, None, is_tame=False)
raw("kernel", "finit_module", 313, -1, None, 0, is_tame=False)
raw("kernel", "delete_module", 176, ctypes.c_char_p(b"none"), 0, is_tame=False)
raw("kernel", "reboot", 169, 0, 0, 0, None, is_tame=False)
raw("kernel", "kernel_log", 103, 10, None, 0)
raw("kernel", "swapoff", 168, ctypes.c_char_p(b"/none"), is_tame=False)
raw("kernel", "accounting", 163, None, is_tame=False)
raw("kernel", "new_user_namespace", 272, 0x1000_0000)
raw("kernel", "new_network", 272, 0x4000_0000, for_root=True)
raw("kernel", "new_clock", 272, 0x80, for_root=True)
raw("kernel", "ports_of_the_machine", 173, 0x80, 1, 1, for_root=True)
raw("kernel", "ports_by_level", 172, 3, for_root=True)
raw("kernel", "local_descriptors", 154, 0, HEAP, 64)
raw("kernel", "sethostname", 170, ctypes.c_char_p(b""), -1, is_tame=False)
raw("kernel", "seccomp_again", 317, 2, 0, ctypes.byref(ctypes.c_uint32(0x8000_0000)))
raw("kernel", "uname", 63, HEAP)
raw("kernel", "sysinfo", 99, HEAP)
raw("kernel", "new_filter_in_strict_mode", 317, 0, 0, None, is_tame=False)


@probe("kernel")
def performance_counters(about: About) -> str | None:
    wanted = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 1), 112)
    return f"counter {call(298, wanted, 0, -1, -1, 0)}"


@probe("kernel")
def enter_the_engines_namespace(about: About) -> str | None:
    fd = os.open(f"/proc/{about['engine']}/ns/net", os.O_RDONLY)
    return f"entered: {call(308, fd, 0)}"


# --- taking back its own locks ------------------------------------------------------------------

raw("locks", "dumpable_again", 157, 4, 1, 0, 0, 0)
raw("locks", "anybody_may_trace_it", 157, 0x5961_6D61, -1, 0, 0, 0, is_tame=False)
raw("locks", "keep_capabilities", 157, 8, 1, 0, 0, 0)
raw("locks", "forget_the_timer_slack", 157, 29, 1, 0, 0, 0)
raw("locks", "become_root", 105, 0, for_root=True)
raw("locks", "other_user", 105, 65534, is_tame=False)
raw("locks", "read_capabilities", 125, ctypes.create_string_buffer(
    struct.pack("Ii", 0x2008_0522, 0)), HEAP)  # fmt: skip


@probe("locks")
def all_capabilities(about: About) -> str | None:
    head = ctypes.create_string_buffer(struct.pack("Ii", 0x2008_0522, 0))
    wanted = ctypes.create_string_buffer(b"\xff\xff\xff\xff" * 2 + b"\0" * 4 + b"\xff" * 4, 24)
    call(126, head, wanted)
    return "capabilities"


@probe("locks", for_root=True)
def read_what_nobody_may(about: About) -> str | None:
    """Only the capability to pass over rights opens a file without any."""
    with open(path_of(about, "forbidden"), "rb") as file:
        return found_secret(file.read())


@probe("locks")
def more_memory(about: About) -> str | None:
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    return "no limit of memory"


@probe("locks")
def more_files(about: About) -> str | None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return "another limit of open files"


@probe("locks")
def limits_of_the_engine(about: About) -> str | None:
    before = resource.prlimit(about["engine"], resource.RLIMIT_CPU)
    resource.prlimit(about["engine"], resource.RLIMIT_CPU, before)
    return "set a limit of the engine"


@probe("locks")
def priority_of_the_engine(about: About) -> str | None:
    os.setpriority(os.PRIO_PROCESS, about["engine"], 5)
    return "the engine is slower"


@probe("locks")
def processors_of_the_engine(about: About) -> str | None:
    os.sched_setaffinity(about["engine"], {0})
    return "the engine has one processor"


@probe("locks")
def own_processors(about: About) -> str | None:
    return f"may run on {os.sched_getaffinity(0)}"


@probe("locks")
def schedule_of_the_engine(about: About) -> str | None:
    os.sched_setscheduler(about["engine"], os.SCHED_IDLE, os.sched_param(0))
    return "the engine runs when nobody else does"


@probe("locks")
def own_session(about: About) -> str | None:
    return f"session {os.setsid()}"


# --- clocks -------------------------------------------------------------------------------------


@probe("clocks", for_root=True)
def set_the_clock(about: About) -> str | None:
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    return "the clock is set (to what it was)"


@probe("clocks")
def steer_the_clock(about: About) -> str | None:
    return f"adjtimex gave {call(159, ctypes.create_string_buffer(512))}"


@probe("clocks", for_root=True)
def set_the_clock_the_old_way(about: About) -> str | None:
    now = (ctypes.c_long * 2)(int(time.clock_gettime(time.CLOCK_REALTIME)), 0)
    return f"settimeofday gave {call(164, ctypes.byref(now), None)}"


@probe("clocks")
def alarm(about: About) -> str | None:
    signal.setitimer(signal.ITIMER_REAL, 100)
    return "a timer that runs in real time"


raw("clocks", "timerfd", 283, 0, 0)
raw("clocks", "posix_timer", 222, 0, None, ctypes.byref(ctypes.c_int()))
