"""A check that interpreting changes nothing: round trip and log-determinant of T."""

import dataclasses

from iin_jax.analysis.base import Evidence, Record, Section, Table


@dataclasses.dataclass(frozen=True)
class CertificateRecord(Record):
    """Largest errors relative to max(1, |value|); see ``Interpreter.certify``.

    Attributes:
      round_trip_max_abs: largest error of T^-1(T(z)) against z.
      log_det_max_abs: largest error of the log-determinant against automatic
        differentiation.
      dtype: floating-point type of the check.
      latents: number of latents in the round trip.
      log_det_latents: number of latents in the check of the log-determinant.
      log_det_of: ``"flow"`` if the whole T was differentiated, or ``"blocks"`` if one
        block at a time.
      decode_max_abs: largest error of images decoded through T and back; None if the
        network decodes to no images.
      prediction_agreement: share of images, in [0, 1], whose prediction survives T
        and back; None if the network decodes to images.
    """

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
    """Measures round trip and log-determinant of T on test images."""

    record = CertificateRecord

    def measure(self, evidence: Evidence) -> CertificateRecord:
        rows = evidence.test.some(evidence.certified, evidence.seed)
        errors = evidence.interpreter.certify(evidence.test.read(rows))
        return CertificateRecord(**errors)

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
