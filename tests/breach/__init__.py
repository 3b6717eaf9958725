"""Assume breach: raw Python inside the worker's locks, and what it can do there.

Nothing in `milo` knows of this package. `engine` is a process with secrets, files and open ears, as
the real engine has; `boot` a worker of its own, locked by the product's code, that runs `probes`
instead of scripts. Every probe names the harm that it does where it succeeds.
"""
