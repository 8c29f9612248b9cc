"""The engine of experiments: ``python -m iin_jax.runs NAME --workdir DIR``."""
