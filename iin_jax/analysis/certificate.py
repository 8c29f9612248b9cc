"""A check that interpreting changes nothing: round trip and log-determinant of T."""

import dataclasses

from iin_jax.analysis.base import Evidence, Finding, Record, Section, Table
from iin_jax.flows.certificate import COMPILED_BOUND
from iin_jax.interpreter import NETWORK_COMPILED_BOUND

EXACT = 1e-3  # largest relative error of a float32 round trip that is rounding


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
      compiled_max_abs: largest error of the compiled T against the uncompiled one;
        None in scorecards of before this was measured.
      network_compiled_max_abs: the same of the network's E and G.
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
    compiled_max_abs: float | None = None
    network_compiled_max_abs: float | None = None


class CertificateAnalysis:
    """Measures round trip and log-determinant of T on test images."""

    record = CertificateRecord

    def measure(self, evidence: Evidence) -> CertificateRecord:
        rows = evidence.test.some(evidence.certified, evidence.seed)
        errors = evidence.interpreter.certify(evidence.test.read(rows))
        return CertificateRecord(**errors)

    def section(self, record: CertificateRecord) -> Section:
        text = (
            "Translating z by T and back should change nothing but the last digits. "
            f"Errors are relative to max(1, |value|), on {record.latents} held-out "
            f"latents ({record.dtype}). The log-determinant says how T stretches "
            f"volumes, which its densities need; it is that of the {record.log_det_of} "
            f"against automatic differentiation on {record.log_det_latents} latents."
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
        for name, error, _ in _compiled(record):
            rows.append([f"{name} compiled against uncompiled", f"{error:.2e}"])
        findings = [_finding(record), *_miscompiled(record)]
        return Section("Certificate", [text], [Table((), rows)], findings=findings)


def _finding(record: CertificateRecord) -> Finding:
    """Whether T and back give the same z."""
    error = record.round_trip_max_abs
    if error <= EXACT:
        text = "Translating z by T and back changes nothing beyond rounding"
    else:
        text = "Translating z by T and back changes z, so edits are not exact"
    text += f": largest relative error {error:.1e} on {record.latents} latents."
    return Finding("holds" if error <= EXACT else "fails", text)


def _compiled(record: CertificateRecord) -> list[tuple[str, float, float]]:
    """What was compared with its uncompiled results: name, error, bound."""
    compared = [
        ("T", record.compiled_max_abs, COMPILED_BOUND),
        ("the network", record.network_compiled_max_abs, NETWORK_COMPILED_BOUND),
    ]
    return [(name, error, at) for name, error, at in compared if error is not None]


def _miscompiled(record: CertificateRecord) -> list[Finding]:
    """A finding for each of T and the network whose compiled results are wrong."""
    return [
        Finding(
            "fails",
            f"Compiled results of {name} differ from uncompiled ones by {error:.1e}, "
            "more than rounding: no figure here can be trusted with this jaxlib.",
        )
        for name, error, bound in _compiled(record)
        if not error <= bound  # NaN too
    ]
