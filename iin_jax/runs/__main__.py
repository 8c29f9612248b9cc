"""The command line: ``python -m iin_jax.runs NAME|CONFIG.py --workdir DIR``."""

import signal
import sys

from iin_jax.runs.command import end_at_once, main, with_fast_cpu

if __name__ == "__main__":
    signal.signal(signal.SIGINT, end_at_once)
    with_fast_cpu()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
