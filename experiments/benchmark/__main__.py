"""Entry of ``python -m experiments.benchmark``; run, never imported."""

import sys

from experiments.benchmark.launch import main

if __name__ == "__main__":
    sys.exit(main())
