"""How many programs JAX compiles, or fetches from its cache on disk."""

import contextlib
from collections.abc import Iterator

import jax

EVENT = "/jax/core/compile/backend_compile_duration"  # one for each program

_counts: list[list[int]] = []


def _listen(event: str, seconds: float, **more: object) -> None:
    if event == EVENT:
        for count in _counts:
            count[0] += 1


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compilations() -> Iterator[list[int]]:
    """A list of one number, which counts the programs compiled in here."""
    count = [0]
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)
