"""Who judges what, by what a network puts out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from iin_jax.analysis.base import Examples
from iin_jax.analysis.judges import (
    ColorJudge,
    ConvolutionalJudge,
    Judge,
    LatentJudge,
    LogitsJudge,
    shape_judge,
)
from iin_jax.data.values import is_class, is_color, known_rows, plain

MOST_PICTURES = 60_000  # training pictures of one judge, at most
MOST_LATENTS = 4096  # training latents of one judge, at most
MOST_PREDICTED = 1024  # images on which a network's own predictions are looked at
AGREEMENT = 0.5  # share of predictions that are right if the network tells the classes

Pictures = tuple[np.ndarray, Mapping[str, np.ndarray]]  # uint8 (n, H, W, C), values


def choose_judges(
    names: Sequence[str],
    train: Examples,
    pictures: Callable[[], tuple[Pictures, Pictures]],
    *,
    by_shape: bool,
    epochs: int | None = None,
    seed: int = 0,
) -> dict[str, Judge]:
    """A judge for every attribute that has values; none of them sees the flow.

    Pictures are read by networks trained on real ones (colours are measured), logits by
    whichever attribute they tell, all else in z by kernel methods.

    Args:
      names: attributes to be read, as far as ``train`` has values of them.
      train: what latents are taken from.
      pictures: gives training and test pictures with their values.
      by_shape: judges look at brightness alone, since colours change.
      epochs: of a judge's training on colours; None: as suits.
      seed: of the judges' training.
    """
    read = [name for name in names if name in train.values]
    if train.network.output == "images":
        return _picture_judges(read, train, pictures, by_shape, epochs, seed)
    judges: dict[str, Judge] = {}
    if train.network.output == "logits":
        judges = {n: LogitsJudge() for n in _told_by_logits(read, train)}
    rng = np.random.default_rng([seed, 0x10DC])
    part = np.sort(rng.permutation(len(train))[:MOST_LATENTS])
    for name in read:
        if name not in judges:
            values = train.values[name][part]
            judges[name] = LatentJudge.train(train.latents.mean[part], values)
    return {name: judges[name] for name in read}


def _picture_judges(
    names: Sequence[str],
    train: Examples,
    pictures: Callable[[], tuple[Pictures, Pictures]],
    by_shape: bool,
    epochs: int | None,
    seed: int,
) -> dict[str, Judge]:
    colors = [name for name in names if is_color(train.values[name])]
    judges: dict[str, Judge] = {name: ColorJudge() for name in colors}
    if len(colors) == len(names):
        return judges
    (seen, values), (unseen, truths) = pictures()
    for name in names:
        if name in judges:
            continue
        options: Any = {"test": (unseen, truths[name]), "seed": seed}
        if by_shape and is_class(values[name]):
            judges[name] = shape_judge(seen, values[name], **options)
        else:
            view = "brightness" if by_shape else "color"
            judges[name] = ConvolutionalJudge.train(
                seen, values[name], view=view, epochs=epochs, **options
            )
    return {name: judges[name] for name in names}


def _told_by_logits(names: Sequence[str], train: Examples) -> list[str]:
    """Attributes whose classes are what the network itself predicts."""
    part = slice(0, MOST_PREDICTED)
    network, images = train.network, train.read(part)
    predicted = np.asarray(network.decode(network.encode(images))).argmax(axis=-1)
    told = []
    for name in names:
        values = train.values[name][part]
        known = known_rows(values)
        if is_class(values) and plain(values).dtype.kind in "iub" and known.any():
            right = predicted[known] == plain(values)[known]
            told += [name] if right.mean() > AGREEMENT else []
    return told


def as_pictures(examples: Examples, most: int, seed: int) -> Pictures:
    """Some images in memory as a judge of pictures is trained on them."""
    rng = np.random.default_rng([seed, 0x7D6E])
    part = np.sort(rng.permutation(len(examples))[:most])
    images = np.asarray(examples.read(part))
    values = {name: x[part] for name, x in examples.values.items()}
    return np.round(127.5 * (images + 1.0)).clip(0, 255).astype(np.uint8), values
