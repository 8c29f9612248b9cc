"""The command line: ``python -m iin_jax.runs NAME|CONFIG.py --workdir DIR``."""

import sys

from iin_jax.runs.command import main, with_fast_cpu

if __name__ == "__main__":
    with_fast_cpu()
    sys.exit(main())
