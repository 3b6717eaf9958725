"""What a stranger tries once raw Python runs in the worker: each probe says what it got.

A probe returns None where it got nothing and a sentence where it did harm; OSError and MemoryError
count as nothing. Some harm shows only outside: `engine` looks after each probe whether a secret
came out, a file changed, a signal or a connection arrived. Numbers are those of x86-64.

What a probe does stays within this computer, this user and the test's own folder, also where no
lock holds; `is_tame` False marks those that are not tried without locks all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

About = dict[str, Any]
"""engine (its pid), folder, port, secrets_at (address of a secret in the engine), memory_mb."""

PAGE = 4096
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
LIBC.mmap.restype = ctypes.c_void_p
FAILED = ctypes.c_void_p(-1).value
HEAP = ctypes.create_string_buffer(1 << 16)
AT_CWD = -100


@dataclass(frozen=True)
class Probe:
    family: str
    attempt: Callable[[About], str | None]
    is_tame: bool
    for_root: bool
    """Shows its harm only where the user is root."""


PROBES: dict[str, Probe] = {}


def probe(
    family: str, *, is_tame: bool = True, for_root: bool = False
) -> Callable[[Callable[[About], str | None]], Callable[[About], str | None]]:
    def register(attempt: Callable[[About], str | None]) -> Callable[[About], str | None]:
        name = f"{family}: {attempt.__name__.replace('_', ' ')}"
        assert name not in PROBES
        PROBES[name] = Probe(family, attempt, is_tame, for_root)
        return attempt

    return register


def call(number: int, *arguments: Any) -> int:
    """Make a system call; OSError where it fails."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer: int = LIBC.syscall(ctypes.c_long(number), *words)
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def raw(
    family: str, name: str, number: int, *arguments: Any, is_tame: bool = True,
    for_root: bool = False,
) -> None:  # fmt: skip
    """Register a probe that is one system call; that it succeeds is the harm."""

    def attempt(about: About) -> str | None:
        return f"{name} gave {call(number, *arguments)}"

    attempt.__name__ = name
    probe(family, is_tame=is_tame, for_root=for_root)(attempt)


def found_secret(content: bytes) -> str | None:
    """Return a secret that lies in some bytes, put together so that this text holds none."""
    match = re.search(b"MILO" + b"-[A-Z]+-" + b"[0-9a-f]{32}", content)
    return f"a secret: {match[0].decode()}" if match else None


def memory_of(pid: int | str, opened: str = "mem") -> str | None:
    """Look for a secret in all readable memory of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/{opened}", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 28:
                continue
            memory.seek(start)
            try:
                found = found_secret(memory.read(end - start))
            except (OSError, OverflowError):
                continue
            if found:
                return found
    return None


# --- files --------------------------------------------------------------------------------------


def path_of(about: About, name: str) -> str:
    return os.path.join(about["folder"], name)


@probe("files")
def read_the_key_file(about: About) -> str | None:
    with open(path_of(about, "keys.json"), "rb") as file:
        return found_secret(file.read())


@probe("files")
def read_the_list_of_users(about: About) -> str | None:
    with open("/etc/passwd", "rb") as file:
        return f"/etc/passwd: {file.read(20)!r}"


@probe("files")
def read_the_key_file_by_the_oldest_call(about: About) -> str | None:
    fd = call(2, ctypes.c_char_p(path_of(about, "keys.json").encode()), os.O_RDONLY, 0)
    return found_secret(os.read(fd, 1000))


@probe("files")
def read_the_key_file_by_openat2(about: About) -> str | None:
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    name = ctypes.c_char_p(path_of(about, "keys.json").encode())
    return found_secret(os.read(call(437, AT_CWD, name, ctypes.byref(how), 24), 1000))


@probe("files")
def create_a_file(about: About) -> str | None:
    with open(path_of(about, "created"), "w") as file:
        file.write("x")
    return "a new file"


@probe("files")
def create_a_file_without_a_name(about: About) -> str | None:
    return f"file {os.open(about['folder'], os.O_TMPFILE | os.O_RDWR)}"


@probe("files")
def overwrite_the_canary(about: About) -> str | None:
    with open(path_of(about, "canary"), "w") as file:
        file.write("overwritten")
    return "overwrote the canary"


@probe("files")
def append_to_the_canary(about: About) -> str | None:
    with open(path_of(about, "canary"), "a") as file:
        file.write("more")
    return "appended to the canary"


@probe("files")
def truncate_the_canary(about: About) -> str | None:
    os.truncate(path_of(about, "canary"), 1)
    return "truncated the canary"


@probe("files")
def delete_the_canary(about: About) -> str | None:
    os.unlink(path_of(about, "canary"))
    return "deleted the canary"


@probe("files")
def rename_the_canary(about: About) -> str | None:
    os.rename(path_of(about, "canary"), path_of(about, "renamed"))
    return "renamed the canary"


@probe("files")
def change_the_rights_of_the_key_file(about: About) -> str | None:
    os.chmod(path_of(about, "keys.json"), 0o666)
    return "everybody may read the keys"


@probe("files")
def change_the_times_of_the_canary(about: About) -> str | None:
    os.utime(path_of(about, "canary"), (1, 1))
    return "changed its times"


@probe("files")
def change_the_owner_of_the_canary(about: About) -> str | None:
    os.chown(path_of(about, "canary"), os.getuid(), os.getgid())
    return "changed its owner"


@probe("files")
def link_the_key_file(about: About) -> str | None:
    os.link(path_of(about, "keys.json"), path_of(about, "linked"))
    return "a second name of the keys"


@probe("files")
def make_a_symbolic_link(about: About) -> str | None:
    os.symlink("keys.json", path_of(about, "soft"))
    return "a symbolic link"


@probe("files")
def make_a_folder(about: About) -> str | None:
    os.mkdir(path_of(about, "folder"))
    return "a folder"


@probe("files")
def make_a_named_pipe(about: About) -> str | None:
    os.mkfifo(path_of(about, "fifo"))
    return "a named pipe"


@probe("files")
def list_the_folder(about: About) -> str | None:
    return f"names: {os.listdir(about['folder'])}"


@probe("files")
def ask_about_the_key_file(about: About) -> str | None:
    return f"{os.stat(path_of(about, 'keys.json')).st_size} bytes"


@probe("files")
def set_an_attribute_of_the_canary(about: About) -> str | None:
    os.setxattr(path_of(about, "canary"), "user.x", b"x")
    return "an attribute"


@probe("files")
def go_to_another_folder(about: About) -> str | None:
    os.chdir(about["folder"])
    return "another folder"


@probe("files")
def watch_the_folder(about: About) -> str | None:
    fd = call(294, 0)
    return f"watch {call(254, fd, ctypes.c_char_p(about['folder'].encode()), 0x100)}"


@probe("files")
def take_a_handle_of_the_key_file(about: About) -> str | None:
    handle = ctypes.create_string_buffer(struct.pack("iI", 128, 0) + b"\0" * 128)
    number = ctypes.c_int()
    name = ctypes.c_char_p(path_of(about, "keys.json").encode())
    return f"handle {call(303, AT_CWD, name, handle, ctypes.byref(number), 0)}"


@probe("files", is_tame=False)
def mount_a_file_system(about: About) -> str | None:
    folder = ctypes.c_char_p(about["folder"].encode())
    call(165, ctypes.c_char_p(b"none"), folder, ctypes.c_char_p(b"tmpfs"), 0, None)
    call(166, folder, 2)
    return "a mount"


raw("files", "statfs", 137, ctypes.c_char_p(b"/"), HEAP)
raw("files", "sync", 162, is_tame=False)
raw("files", "chroot", 161, ctypes.c_char_p(b"/"), for_root=True)
raw("files", "pivot_root", 155, ctypes.c_char_p(b"/"), ctypes.c_char_p(b"/"), is_tame=False)
raw("files", "fsopen", 430, ctypes.c_char_p(b"tmpfs"), 0, for_root=True)
raw("files", "open_tree", 428, AT_CWD, ctypes.c_char_p(b"/"), 0)
raw("files", "fanotify_init", 300, 0x200, 0)
raw("files", "landlock_ruleset", 444, 0, 0, 1)


# --- the engine through /proc -------------------------------------------------------------------


@probe("proc")
def memory_of_the_engine(about: About) -> str | None:
    return memory_of(about["engine"])


@probe("proc")
def environment_of_the_engine(about: About) -> str | None:
    with open(f"/proc/{about['engine']}/environ", "rb") as file:
        return found_secret(file.read())


@probe("proc")
def open_files_of_the_engine(about: About) -> str | None:
    folder = f"/proc/{about['engine']}/fd"
    for name in os.listdir(folder):
        try:
            fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        return f"the engine's file {name} as {fd}"
    return None


@probe("proc")
def maps_of_the_engine(about: About) -> str | None:
    with open(f"/proc/{about['engine']}/maps") as file:
        return f"its map: {file.readline()}"


@probe("proc")
def command_line_of_the_engine(about: About) -> str | None:
    with open(f"/proc/{about['engine']}/cmdline", "rb") as file:
        return f"its arguments: {file.read()!r}"


@probe("proc")
def folder_of_the_engine(about: About) -> str | None:
    return "its files: " + " ".join(os.listdir(f"/proc/{about['engine']}/cwd/"))


@probe("proc")
def write_the_engines_score(about: About) -> str | None:
    with open(f"/proc/{about['engine']}/oom_score_adj", "w") as file:
        file.write("1000")
    return "the engine dies first when memory is short"


@probe("proc")
def write_own_code(about: About) -> str | None:
    with open("/proc/self/mem", "r+b", 0) as memory:
        memory.seek(ctypes.cast(LIBC.getppid, ctypes.c_void_p).value or 0)
        code = memory.read(16)
        memory.seek(-16, os.SEEK_CUR)
        memory.write(code)
    return "wrote into executable memory"


@probe("proc")
def open_own_pipe_anew(about: About) -> str | None:
    return f"file {os.open('/proc/self/fd/3', os.O_WRONLY | os.O_NONBLOCK)}"


@probe("proc")
def list_processes(about: About) -> str | None:
    return f"{len(os.listdir('/proc'))} names in /proc"


# --- the engine's memory directly ---------------------------------------------------------------


@probe("engine")
def process_vm_readv(about: About) -> str | None:
    at, size = about["secret_at"]
    target = ctypes.create_string_buffer(size)
    ours = (ctypes.c_uint64 * 2)(ctypes.addressof(target), size)
    theirs = (ctypes.c_uint64 * 2)(at, size)
    call(310, about["engine"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    return found_secret(target.raw) or "memory of the engine"


@probe("engine")
def process_vm_writev(about: About) -> str | None:
    at, _ = about["secret_at"]
    source = ctypes.create_string_buffer(b"MILO")
    ours = (ctypes.c_uint64 * 2)(ctypes.addressof(source), 4)
    theirs = (ctypes.c_uint64 * 2)(at, 4)
    call(311, about["engine"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    return "wrote into the engine"


@probe("engine")
def ptrace_seize(about: About) -> str | None:
    call(101, 0x4206, about["engine"], 0, 0)
    return "traces the engine"


@probe("engine", is_tame=False)
def ptrace_attach(about: About) -> str | None:
    call(101, 16, about["engine"], 0, 0)
    return "stopped the engine"


@probe("engine")
def ptrace_trace_me(about: About) -> str | None:
    call(101, 0, 0, 0, 0)
    return "is traced"


@probe("engine")
def pidfd_open(about: About) -> str | None:
    return f"a handle of the engine: {call(434, about['engine'], 0)}"


@probe("engine")
def pidfd_getfd(about: About) -> str | None:
    handle = call(434, about["engine"], 0)
    for number in range(3, 20):
        try:
            fd = call(438, handle, number, 0)
        except OSError:
            continue
        return f"the engine's file {number} as {fd}"
    return None


@probe("engine")
def kcmp(about: About) -> str | None:
    return f"compared with the engine: {call(312, os.getpid(), about['engine'], 2, 0, 0)}"


@probe("engine")
def get_robust_list(about: About) -> str | None:
    size = ctypes.c_size_t()
    head = ctypes.c_void_p()
    call(274, about["engine"], ctypes.byref(head), ctypes.byref(size))
    return f"an address in the engine: {head.value}"


@probe("engine")
def processor_time_of_the_engine(about: About) -> str | None:
    return f"{time.clock_gettime((~about['engine'] << 3) | 2)} s"


# --- sockets ------------------------------------------------------------------------------------


@probe("sockets")
def connect_to_a_port(about: About) -> str | None:
    with socket.create_connection(("127.0.0.1", about["port"]), timeout=2):
        return "a connection"


@probe("sockets")
def listen_on_a_port(about: About) -> str | None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return "a listener"


@probe("sockets")
def send_a_datagram(about: About) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", about["port"]))
        return "a datagram"


@probe("sockets")
def connect_to_a_socket_file(about: About) -> str | None:
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(path_of(about, "socket"))
        return "a connection"


@probe("sockets")
def connect_to_an_abstract_socket(about: About) -> str | None:
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(about["abstract"])
        return "a connection"


def socket_probe(name: str, family: int, kind: int, protocol: int, *, for_root: bool) -> None:
    raw("sockets", name, 41, family, kind, protocol, for_root=for_root)


for _name, _family, _kind, _protocol, _root in (
    ("ipv4_stream", 2, 1, 0, False),
    ("ipv4_datagram", 2, 2, 0, False),
    ("ipv6_stream", 10, 1, 0, False),
    ("ipv4_raw", 2, 3, 1, True),
    ("packet", 17, 3, 0x0300, True),
    ("netlink_route", 16, 3, 0, False),
    ("netlink_audit", 16, 3, 9, False),
    ("unix_stream", 1, 1, 0, False),
    ("vsock", 40, 1, 0, False),
    ("kernel_crypto", 38, 5, 0, False),
    ("multipath_tcp", 2, 1, 262, False),
):
    socket_probe(_name, _family, _kind, _protocol, for_root=_root)


@probe("sockets")
def socket_pair(about: About) -> str | None:
    return f"a pair {socket.socketpair()}"


# --- processes ----------------------------------------------------------------------------------


def _end_child(pid: int) -> str:
    """In the child: end; in the parent: say that there was one."""
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"process {pid}"


@probe("processes")
def fork(about: About) -> str | None:
    return _end_child(os.fork())


@probe("processes")
def fork_by_number(about: About) -> str | None:
    return _end_child(call(57))


@probe("processes", is_tame=False)
def vfork_by_number(about: About) -> str | None:
    return _end_child(call(58))


@probe("processes")
def clone_by_number(about: About) -> str | None:
    return _end_child(call(56, signal.SIGCHLD, 0, 0, 0, 0))


@probe("processes")
def clone3(about: About) -> str | None:
    arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD)
    return _end_child(call(435, ctypes.byref(arguments), 88))


@probe("processes")
def start_a_thread(about: About) -> str | None:
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    thread.join()
    return "a thread"


@probe("processes")
def start_a_program(about: About) -> str | None:
    done = subprocess.run(["/bin/echo", "x"], capture_output=True, check=False)
    return f"a program that said {done.stdout!r}"


SAY = """echo '{"harm": "a program"}' >&4"""


def _pass_replies_on() -> None:
    """Let the next program speak; where that is refused, it may still run unheard."""
    with contextlib.suppress(OSError):
        os.set_inheritable(4, True)


@probe("processes")
def become_a_program(about: About) -> str | None:
    _pass_replies_on()
    os.execv("/bin/sh", ["sh", "-c", SAY])


@probe("processes")
def become_a_program_by_execveat(about: About) -> str | None:
    _pass_replies_on()
    words = (ctypes.c_char_p * 4)(b"sh", b"-c", SAY.encode(), None)
    call(322, AT_CWD, ctypes.c_char_p(b"/bin/sh"), words, None, 0)
    return None


@probe("processes")
def become_a_program_without_a_file(about: About) -> str | None:
    _pass_replies_on()
    fd = call(319, ctypes.c_char_p(b"x"), 0)
    with open("/bin/sh", "rb") as file:
        os.write(fd, file.read())
    words = (ctypes.c_char_p * 4)(b"sh", b"-c", SAY.encode(), None)
    call(322, fd, ctypes.c_char_p(b""), words, None, 0x1000)
    return None


@probe("processes")
def run_a_program_of_root(about: About) -> str | None:
    """A program that gives its user root's rights reads a file that only root may read."""
    done = subprocess.run(
        [path_of(about, "setuid"), path_of(about, "root-only")], capture_output=True, check=False
    )
    return found_secret(done.stdout)


# --- signals ------------------------------------------------------------------------------------


@probe("signals")
def signal_the_engine(about: About) -> str | None:
    os.kill(about["engine"], signal.SIGUSR1)
    return "a signal"


@probe("signals")
def look_whether_the_engine_lives(about: About) -> str | None:
    os.kill(about["engine"], 0)
    return "it lives"


@probe("signals")
def signal_the_parent(about: About) -> str | None:
    os.kill(os.getppid(), signal.SIGUSR2)
    return "a signal"


@probe("signals")
def signal_the_group(about: About) -> str | None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.kill(0, signal.SIGUSR2)
    return "a signal"


@probe("signals")
def signal_the_engines_group(about: About) -> str | None:
    os.killpg(about["engine_group"], signal.SIGUSR2)
    return "a signal"


raw("signals", "signal_everybody", 62, -1, signal.SIGUSR2, is_tame=False)


@probe("signals")
def signal_a_thread_of_the_engine(about: About) -> str | None:
    call(234, about["engine"], about["engine"], signal.SIGUSR1)
    return "a signal"


@probe("signals")
def queue_a_signal(about: About) -> str | None:
    about_signal = ctypes.create_string_buffer(struct.pack("iii", signal.SIGUSR1, 0, -1), 128)
    call(129, about["engine"], signal.SIGUSR1, about_signal)
    return "a signal"


@probe("signals")
def signal_by_handle(about: About) -> str | None:
    call(424, call(434, about["engine"], 0), signal.SIGUSR1, 0, 0)
    return "a signal"


@probe("signals")
def take_the_signal_of_spent_time(about: About) -> str | None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return "processor time ends it no more"


@probe("signals")
def survive_a_forbidden_call(about: About) -> str | None:
    signal.signal(signal.SIGSYS, signal.SIG_IGN)
    return "forbidden calls end it no more"


@probe("signals")
def outlive_the_engine(about: About) -> str | None:
    return f"prctl gave {call(157, 1, 0, 0, 0, 0)}"


# --- memory shared with others ------------------------------------------------------------------


@probe("shared")
def sysv_memory(about: About) -> str | None:
    key = call(29, 0, PAGE, 0o1600)
    call(31, key, 0, None)
    return f"shared memory {key}"


@probe("shared")
def sysv_semaphore(about: About) -> str | None:
    key = call(64, 0, 1, 0o1600)
    call(66, key, 0, 0, None)
    return f"a semaphore {key}"


@probe("shared")
def sysv_queue(about: About) -> str | None:
    key = call(68, 0, 0o1600)
    call(71, key, 0, None)
    return f"a queue {key}"


raw("shared", "memfd", 319, ctypes.c_char_p(b"x"), 0)
raw("shared", "secret_memory", 447, 0, is_tame=False)


@probe("shared")
def message_queue(about: About) -> str | None:
    name = ctypes.c_char_p(f"milo-{os.getpid()}".encode())
    fd = call(240, name, os.O_CREAT | os.O_RDWR, 0o600, None)
    call(241, name)
    return f"a queue {fd}"


@probe("shared")
def file_in_shared_memory(about: About) -> str | None:
    path = f"/dev/shm/milo-breach-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    os.unlink(path)
    return "a file in shared memory"


@probe("shared")
def shared_mapping(about: About) -> str | None:
    mmap.mmap(-1, PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    return "shared memory"


# --- executable memory --------------------------------------------------------------------------


def mapped(protection: int, flags: int = 0x22, fd: int = -1) -> int:
    """Map a page and return its address; OSError where the kernel refuses."""
    at: int | None = LIBC.mmap(None, ctypes.c_size_t(PAGE), protection, flags, fd, ctypes.c_long(0))
    if at is None or at == FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return at


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
