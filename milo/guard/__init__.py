"""The guard: a small process of its own that watches stops when the engine dies."""
