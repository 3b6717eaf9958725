"""What a stranger tries on the network and on other processes."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import threading

from tests.breach.probing import (
    AT_CWD,
    PAGE,
    About,
    call,
    found_secret,
    path_of,
    probe,
    raw,
)

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
