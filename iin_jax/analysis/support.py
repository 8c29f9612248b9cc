"""How far edits leave the values that a layer behind a ReLU can put out."""

import dataclasses

import numpy as np

from iin_jax.analysis.base import Evidence, Finding, Record, Section, Table

EDITED = 1000  # most pairs whose swaps are looked at
LEAST_ZEROS = 0.01  # share of exact zeros that tells the outputs of a ReLU
SMALL = 0.05  # share of the norm of z below zero that hardly counts


@dataclasses.dataclass(frozen=True)
class SupportRecord(Record):
    """How much of edited latents lies below zero, where no latent of the layer does.

    Attributes:
      zeros: share of components of test latents that are exactly 0.
      below_zero: concept -> norm of the negative part of z after a swap over the norm
        of z, mean over pairs.
      pairs: number of pairs.
    """

    key = "support"

    zeros: float
    below_zero: dict[str, float]
    pairs: int


class SupportAnalysis:
    """Measures how far swaps of every concept take the latents of a ReLU below 0."""

    record = SupportRecord

    def measure(self, evidence: Evidence) -> SupportRecord | None:
        swapped, interpreter = evidence.swapped, evidence.interpreter
        if swapped is None:
            return None
        rows = np.arange(min(len(swapped.a), EDITED))
        z_a, z_b = (interpreter.encode(x.read(rows)) for x in (swapped.a, swapped.b))
        latents = np.asarray(z_a)
        zeros = float((latents == 0.0).mean())
        if latents.min() < 0.0 or zeros < LEAST_ZEROS:
            return None
        factors, below = (interpreter.translate(z_a), interpreter.translate(z_b)), {}
        for name in interpreter.layout.concepts:
            edited = interpreter.layout.swap(*factors, [name])
            below[name] = _below_zero(np.asarray(interpreter.untranslate(edited)))
        return SupportRecord(zeros, below, len(rows))

    def section(self, record: SupportRecord) -> Section:
        rows = [[n, f"{100 * x:.1f} %"] for n, x in record.below_zero.items()]
        text = (
            "The layer puts out no value below 0, as behind a ReLU "
            f"({100 * record.zeros:.0f} % are exactly 0), but T knows no such bound. "
            f"Of {record.pairs} latents after a swap, this much of the norm is there, "
            "where the network has never been. Cut before the ReLU to avoid it."
        )
        head = ("swap of", "below 0")
        findings = [_finding(name, x) for name, x in record.below_zero.items()]
        return Section(
            "Edits below zero", [text], [Table(head, rows)], findings=findings
        )


def _below_zero(z: np.ndarray) -> float:
    flat = z.reshape(len(z), -1)
    norms = np.linalg.norm(flat, axis=1)
    return float((np.linalg.norm(np.minimum(flat, 0.0), axis=1) / norms).mean())


def _finding(name: str, share: float) -> Finding:
    text = (
        f"Swaps of {name} take {100 * share:.1f} % of the norm of z below 0, where a "
        "layer behind a ReLU never is."
    )
    return Finding("holds" if share <= SMALL else "in part", text)
