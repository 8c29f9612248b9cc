"""The command line: ``python -m iin_jax.runs NAME|CONFIG.py --workdir DIR``."""

import sys

from iin_jax.runs.command import main

if __name__ == "__main__":
    sys.exit(main())
