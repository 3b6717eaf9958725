"""What a stranger tries on files and on the engine's memory."""

from __future__ import annotations

import ctypes
import os
import struct
import time

from tests.breach.probing import (
    AT_CWD,
    HEAP,
    LIBC,
    About,
    call,
    found_secret,
    memory_of,
    path_of,
    probe,
    raw,
)

# --- files --------------------------------------------------------------------------------------


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
