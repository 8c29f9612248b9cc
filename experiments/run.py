"""The command line from a checkout: ``python -m experiments.run NAME --workdir DIR``.

``python -m iin_jax.runs`` is the same, wherever the package is installed.
"""

import sys

from iin_jax.runs.command import main, with_fast_cpu

if __name__ == "__main__":
    with_fast_cpu()
    sys.exit(main(program="experiments.run"))
