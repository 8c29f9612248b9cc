"""Does interpreting change nothing?"""

import dataclasses

from iin_jax.analysis.base import Evidence, Record, Section, Table


@dataclasses.dataclass(frozen=True)
class CertificateRecord(Record):
    """Largest errors relative to max(1, |value|); see ``Interpreter.certify``."""

    key = "certificate"

    round_trip_max_abs: float
    log_det_max_abs: float
    dtype: str
    latents: int
    log_det_latents: int
    log_det_of: str
    decode_max_abs: float | None = None
    prediction_agreement: float | None = None


class CertificateAnalysis:
    """Round trip and log-determinant, on test images."""

    record = CertificateRecord

    def measure(self, evidence: Evidence) -> CertificateRecord:
        part = slice(0, evidence.certified)
        found = evidence.interpreter.certify(evidence.test.read(part))
        return CertificateRecord(**found)

    def section(self, record: CertificateRecord) -> Section:
        text = (
            "Interpreting changes nothing: figures relative to max(1, |value|), on "
            f"{record.latents} held-out latents ({record.dtype}; log-determinant of "
            f"the {record.log_det_of} against automatic differentiation on "
            f"{record.log_det_latents})."
        )
        rows = [
            ["T⁻¹(T(z)) against z, largest error", f"{record.round_trip_max_abs:.2e}"],
            ["log-determinant, largest error", f"{record.log_det_max_abs:.2e}"],
        ]
        if record.decode_max_abs is not None:
            error = f"{record.decode_max_abs:.2e}"
            rows.append(["decoding through T and back, largest error", error])
        if record.prediction_agreement is not None:
            share = f"{100 * record.prediction_agreement:.2f} %"
            rows.append(["predictions that agree through T and back", share])
        return Section("Certificate", [text], [Table((), rows)])
