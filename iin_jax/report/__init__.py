"""Figures and the one-file HTML report."""

from iin_jax.report.html import RunRecord, write

__all__ = ["RunRecord", "write"]
