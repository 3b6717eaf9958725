"""The script's process, both sides (a room).

`process` starts, asks and kills it from the engine; `boot` and `service` run inside it. `backend`
says how a platform locks it in and how the engine checks that; on Linux `confine` closes the locks,
with `seccomp` (whose table is `syscalls`), `landlock` and `kernel` under it. `trial` breaks out on
purpose, for `--doctor`.
"""
