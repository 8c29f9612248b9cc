"""Named experiments: ``python -m experiments.run NAME --workdir DIR``."""
