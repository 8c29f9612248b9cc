"""The command line from a checkout: ``python -m experiments.run NAME --workdir DIR``.

``python -m iin_jax.runs`` is the same, wherever the package is installed.
"""

import os
import signal
import sys
from typing import Any


def end_at_once(number: int, frame: Any) -> None:
    """Ctrl-C while everything is imported, for seconds: nothing has begun yet."""
    os.write(2, b"interrupted before the run began\n")
    os._exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, end_at_once)

    from iin_jax.runs.command import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(program="experiments.run"))
