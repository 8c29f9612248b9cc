"""The report of an interpretation: one HTML file with its figures."""

from iin_jax.report.html import RunRecord, write

__all__ = ["RunRecord", "write"]
