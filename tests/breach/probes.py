"""What a stranger tries once raw Python runs in the worker: each probe says what it got.

A probe returns None where it got nothing and a sentence where it did harm; OSError and MemoryError
count as nothing. Some harm shows only outside: `engine` looks after each probe whether a secret
came out, a file changed, a signal or a connection arrived. Numbers are those of x86-64.

What a probe does stays within this computer, this user and the test's own folder, also where no
lock holds; `is_tame` False marks those that are not tried without locks all the same.
"""

from __future__ import annotations

from tests.breach import probes_of_kernel, probes_of_others, probes_of_secrets, probes_of_self
from tests.breach.probing import PROBES, call, memory_of

__all__ = ["FILES", "PROBES", "call", "memory_of"]

FILES = (probes_of_secrets, probes_of_others, probes_of_kernel, probes_of_self)
"""Each adds its probes to the list when it is imported."""
