"""What a report says in words: what was interpreted, and how the report was made."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from iin_jax.analysis.base import Finding, Section
from iin_jax.analysis.swap_findings import SEVERITY, listed
from iin_jax.factors import RESIDUAL
from iin_jax.interpreter import Interpreter

INTERVALS = {  # entry of a scorecard -> how its 95 % intervals are made
    "swap_intervals": "judged edits: normal, pairs with an image in common counted as "
    "dependent",
    "score_intervals": "scores: bootstrap, images resampled",
}


def introduction(interpreter: Interpreter, data: str | None) -> list[str]:
    """Paragraphs that say what was interpreted, and what z, T and factors are.

    Args:
      interpreter: an interpreter with a network.
      data: name of the images; None: not said.
    """
    network, layout = interpreter.network, interpreter.layout
    if network is None:
        raise ValueError("a report needs a network: attach one with with_network")
    shape = " x ".join(map(str, network.latent_shape))
    of_data = "" if data is None else f", images of {data}"
    paragraphs = [
        f"Interpreted: a frozen network ({network.architecture}{of_data}). Its hidden "
        f"representation of an image at the layer {network.cut!r}, the latent z, has "
        f"{shape} numbers. " + _factors(layout.as_dict())
    ]
    if network.output == "images":
        paragraphs.append(
            "To edit an image, some of its factors are changed, mapped back to z by "
            "the inverse of T, and decoded to an image by the network, which itself "
            "never changes."
        )
    else:
        paragraphs.append(
            "The network puts out no images, so this report shows none that is edited. "
            "An edit changes some factors of z and maps them back by the inverse of T; "
            "it is judged by what the network's output, or z itself, then says."
        )
    return paragraphs


def _factors(sizes: Mapping[str, int]) -> str:
    """Sentences on T, its factors and their sizes."""
    named = [f"{name} ({size})" for name, size in sizes.items() if name != RESIDUAL]
    left = f"the residual ({sizes.get(RESIDUAL, 0)})"
    if not named:
        return (
            "T, an invertible network trained beside it, translates z into one group "
            f"of as many numbers, {left}, since no concept was asked about."
        )
    return (
        "T, an invertible network trained beside it, translates z into as many "
        f"numbers in named groups, the factors: {listed(named)} for the "
        f"{'concepts' if len(named) > 1 else 'concept'} of these names, and {left} for "
        "all that these do not explain. In brackets is each factor's size, the number "
        "of its numbers."
    )


def all_findings(sections: Iterable[Section], card: Mapping[str, Any]) -> list[Finding]:
    """Findings of all sections and on training, the worst first."""
    findings = [finding for section in sections for finding in section.findings]
    findings += _training_findings(card.get("training") or {})
    return sorted(findings, key=lambda finding: SEVERITY.index(finding.verdict))


def _training_findings(training: Mapping[str, Any]) -> list[Finding]:
    """Whether training did better on held-out images than T's start."""
    if "start_bits_per_dim" not in training or training["step"] > 0:
        return []
    if "swaps" in training:
        return [
            Finding(
                "fails",
                "Training was not kept: a probe that reads z found "
                f"{100 * training['swaps']:.1f} % of its swaps of held-out latents "
                f"right, and {100 * training['start_swaps']:.1f} % of those of T_0, "
                "the linear map from which T starts: T is T_0.",
            )
        ]
    return [
        Finding(
            "fails",
            f"Training added nothing: after none of {training['steps']} steps was the "
            "loss of held-out images lower without describing z or separating the "
            "concepts worse than T_0, the linear map from which T starts: T is T_0.",
        )
    ]


def kept_state(training: Mapping[str, Any]) -> str | None:
    """A sentence on which state of T's training was kept; None if none is known."""
    if "held_out_bits_per_dim" not in training:
        return None
    step, steps = training["step"], training["steps"]
    if step == 0 and "swaps" in training:
        kept = "The linear start was kept, which swaps held-out latents better"
    elif step == steps:
        kept = f"The last state, after step {step}, was kept"
    else:
        kept = (
            f"The state after step {step} of {steps} was kept, the one with the lowest "
            "loss of held-out images among those that neither describe z nor separate "
            "the concepts worse than the linear start"
        )
    return (
        f"{kept}: {training['held_out_bits_per_dim']:.2f} bits per dimension through "
        f"T, {training['gaussian_bits_per_dim']:.2f} under a Gaussian fitted to the "
        "training latents."
    )


def origin(card: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, str]:
    """Rows of the table on how the figures were made: name -> text."""
    rows = {
        "commit of iin_jax": card.get("commit"),
        "device": card.get("device"),
        "processor": card.get("processor"),
        "seed": f"{card['seed']} (of every random draw)" if "seed" in card else None,
        "images": _split(card),
        "95 % intervals": "; ".join(x for name, x in INTERVALS.items() if name in card),
        "seconds per stage": ", ".join(
            f"{stage} {seconds:.1f}"
            for stage, seconds in (card.get("seconds") or {}).items()
        ),
        "latents cached": _cached(card.get("latents") or {}),
        "peak memory": f"{card['peak_memory_mb']} MB"
        if "peak_memory_mb" in card
        else "",
        "versions": ", ".join(f"{name} {x}" for name, x in versions.items()),
    }
    return {name: text for name, text in rows.items() if text}


def _split(card: Mapping[str, Any]) -> str:
    """How many images there are of which split, and which of them are judged by."""
    counts = card.get("split_images") or {}
    parts = [f"{count} of {split}" for split, count in counts.items()]
    if "test_images" in card:
        count, split = card["test_images"], card.get("split", "test")
        role = f"{split}, from which T learned nothing"
        if split == "validation":
            role = f"{split}, which also chose sizes and the state of T that was kept"
        parts.append(f"figures stand on {count} of {role}")
    return "; ".join(parts)


def _cached(latents: Mapping[str, Any]) -> str:
    """Number of cached latents and the speed of encoding them."""
    if not latents:
        return ""
    speed = np.round(latents["images_per_second"])
    return f"{latents['entries']}, {speed:.0f} images per second"
