"""Which concepts a classifier uses, in words: a section of its report."""

import dataclasses
from typing import Literal

import numpy as np

from iin_jax.analysis.base import Evidence, Finding, Record, Section, Table, Verdict
from iin_jax.analysis.response import FEWEST, MOST_IMAGES, Response, response
from iin_jax.analysis.significance import FALSE_DISCOVERIES

PERMUTATIONS = 2000  # permutations of the donors' values, cheap beside the answers
MOST_CLASSES = 20  # classes in a table; of more, those that respond most
NAMED = 3  # classes in a sentence
USED = 0.05  # least share of changed predictions that makes a concept a used one

Use = Literal["uses", "hardly uses", "no evidence"]


@dataclasses.dataclass(frozen=True)
class UsageRecord(Record):
    """Concept -> how the classifier's answer responds to it."""

    response: dict[str, Response]


def use_of(response: Response) -> Use:
    """Whether a classifier uses a concept.

    It uses it if its answers follow the concept (at a false-discovery rate of 0.01) and
    at least 5 % of its predictions change with it, by the lower end of the interval;
    hardly, if they follow it but less change; else there is no evidence that it does.
    Two tests are needed: no network is exactly blind to a concept, so with enough
    images every p is small.
    """
    if response.q_value > FALSE_DISCOVERIES:
        return "no evidence"
    return "uses" if response.flips_interval[0] >= USED else "hardly uses"


def sentence(name: str, response: Response, subject: str = "the network") -> str:
    """What a response says of a concept, in words.

    Args:
      name: the concept.
      response: to it.
      subject: what the sentence is about, in lower case.
    """
    low, high = map(percent, response.flips_interval)
    flips = (
        f"with another image's {name} in its place, {percent(response.flips)} of its "
        f"predictions change (95 % {low} to {high})"
    )
    p = f"p = {response.p_value:.4f}, corrected {response.q_value:.4f}"
    start, use = subject[0].upper() + subject[1:], use_of(response)
    if use == "uses":
        classes = _classes(name, response)
        return f"{start} uses {name}: {flips} ({p}).{classes}"
    if use == "hardly uses":
        follows = f"its answers follow it measurably ({p})"
        return f"{start} hardly uses {name}: {follows}, but {flips}."
    return f"There is no evidence that {subject} uses {name} ({p}): {flips}."


def affected(response: Response) -> list[int]:
    """Classes whose answers follow the concept, those of most changed images first."""
    found = {
        label: each.flips or 0.0
        for label, each in response.by_class.items()
        if each.q_value <= FALSE_DISCOVERIES and each.flips
    }
    return sorted(found, key=lambda label: -found[label])


class UsageAnalysis:
    """Tests which concepts a classifier uses, on test images and their true values."""

    record = UsageRecord

    def measure(self, evidence: Evidence) -> UsageRecord | None:
        interpreter, test = evidence.interpreter, evidence.test
        if evidence.network.output != "logits" or not interpreter.layout.concepts:
            return None
        # several images of one picture say little more than one of them
        _, single = np.unique(test.picture, return_index=True)
        if len(single) < FEWEST:
            return None
        rng = np.random.default_rng([evidence.seed, 0x05E])
        rows = np.sort(rng.permutation(single)[:MOST_IMAGES])
        known = [name for name in interpreter.layout.concepts if name in test.values]
        labels = {name: test.values[name][rows] for name in known}
        options = {"seed": evidence.seed, "permutations": PERMUTATIONS}
        return UsageRecord(response(interpreter, test.read(rows), labels, **options))

    def section(self, record: UsageRecord) -> Section:
        rows = [_row(name, each) for name, each in record.response.items()]
        first = next(iter(record.response.values()))
        return Section(
            "Does the network use it",
            [
                "That a concept can be read from z does not mean that the network uses "
                f"it. Here the factor of a concept in each of {first.images} test "
                f"images was replaced by that of {first.donors} others, all else "
                "fixed, and the network answered anew."
            ],
            [
                Table(HEAD, rows),
                *(_table(name, each) for name, each in record.response.items()),
            ],
            [NOTE],
            findings=[_finding(name, each) for name, each in record.response.items()],
        )


HEAD = ("concept", "effect", "changed", "from prior", "rank", "p", "corrected", "use")
NOTE = (
    "effect: divergence of the new answer from the old one (Kullback-Leibler, in "
    "nats), with its 95 % interval. changed: share of predictions that change. from "
    "prior: the same where the factor is random (standard normal). rank: share of "
    "random subspaces of z_tilde, as large as the factor, that have less effect. p: "
    "share of permutations of the donors' true values which the answers follow as "
    "much; corrected for the number of concepts, or of concepts and classes (Benjamini "
    "and Hochberg). use: corrected p up to 0.01, and at least 5 % of the predictions "
    "change (lower end of the interval); hardly, if less do. Classes: share of their "
    "images whose prediction changes, what most of these become, how much more often "
    "the class is predicted after the edits, and how much its log-softmax varies with "
    "the donors."
)
VERDICTS: dict[Use, Verdict] = {
    "uses": "holds",
    "hardly uses": "in part",
    "no evidence": "open",
}


def _finding(name: str, response: Response) -> Finding:
    return Finding(VERDICTS[use_of(response)], sentence(name, response))


def _row(name: str, response: Response) -> list[str]:
    low, high = response.interval
    return [
        name,
        f"{response.effect:.3f} ({low:.3f} to {high:.3f})",
        percent(response.flips),
        f"{response.prior_effect:.3f}, {percent(response.prior_flips)}",
        f"{response.rank:.2f}",
        f"{response.p_value:.4f}",
        f"{response.q_value:.4f}",
        use_of(response),
    ]


def _table(name: str, response: Response) -> Table:
    """Classes of one concept; of many, those whose log-softmax varies most."""
    classes = sorted(response.by_class, key=lambda c: -response.by_class[c].variance)
    rows = []
    for label in sorted(classes[:MOST_CLASSES]):
        each = response.by_class[label]
        rows.append(
            [
                f"class {label}",
                "-" if each.flips is None else percent(each.flips),
                "-" if each.becomes is None else f"class {each.becomes}",
                f"{100 * each.gain:+.1f} %",
                f"{each.variance:.2f}",
                f"{each.p_value:.4f}",
                f"{each.q_value:.4f}",
            ]
        )
    head = (name, "changed", "to", "gain", "variance", "p", "corrected")
    return Table(head, rows)


def _classes(name: str, response: Response) -> str:
    """A sentence on the classes that respond most; empty without any."""
    labels = affected(response)[:NAMED]
    if not labels:
        return ""
    parts = []
    for label in labels:
        each = response.by_class[label]
        parts.append(f"{label} ({percent(each.flips or 0.0)}, to {each.becomes})")
    return f" Most affected by {name}: class {', '.join(parts)}."


def percent(share: float) -> str:
    """A share as text, in per cent to one decimal."""
    return f"{100 * share:.1f} %"
