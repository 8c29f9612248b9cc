"""Figures and the one-file HTML report."""

from iin_jax.report.html import RunRecord, versions, write

__all__ = ["RunRecord", "versions", "write"]
