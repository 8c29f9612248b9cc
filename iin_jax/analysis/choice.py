"""Choice of a judge for each attribute, by the kind of output of a network."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

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

MOST_PICTURES = 60_000  # most training images of an image judge
MOST_LATENTS = 4096  # most training latents of a latent judge
MOST_PREDICTED = 1024  # images that test whether logits predict an attribute
AGREEMENT = 0.5  # share of right predictions above which logits judge an attribute

# images, uint8 (n, H, W, C), and attribute -> values (n,) or (n, d)
Pictures = tuple[np.ndarray, Mapping[str, np.ndarray]]


def choose_judges(
    names: Sequence[str],
    train: Examples,
    pictures: Callable[[], tuple[Pictures, Pictures]],
    *,
    by_shape: bool,
    epochs: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Judge]:
    """Trains a judge for every attribute that has values; no judge sees the flow.

    For a network that decodes to images, colours are measured and all other attributes
    read by classifiers or regressors trained on real images. For a classifier, its own
    logits judge the attributes that they predict. All else is read from z by kernel
    methods.

    Args:
      names: attributes to judge; those without values in ``train`` are left out.
      train: training images and their latents.
      pictures: gives training and test images with their values; called only if an
        image judge has to be trained.
      by_shape: whether image judges of shapes see brightness alone, for images in
        changing colours.
      epochs: training passes of a convolutional judge that is not a shape judge; None:
        the judge's own number.
      seed: seed of the judges' training and of the drawn latents.
      progress: shows a bar over the judges.

    Returns:
      attribute -> judge, in the order of ``names``.

    Raises:
      ValueError: values that a judge cannot learn from; see the judges' ``train``.
    """
    judged = [name for name in names if name in train.values]
    bar = functools.partial(tqdm, desc="judges", disable=not progress)
    if train.network.output == "images":
        return _image_judges(judged, train, pictures, by_shape, epochs, seed, bar)
    judges: dict[str, Judge] = {}
    if train.network.output == "logits":
        judges = {n: LogitsJudge() for n in _predicted_by_logits(judged, train, seed)}
    rng = np.random.default_rng([seed, 0x10DC])
    rows = np.sort(rng.permutation(len(train))[:MOST_LATENTS])
    for name in bar(judged):
        if name not in judges:
            values = train.values[name][rows]
            with _naming(name):
                judges[name] = LatentJudge.train(train.latents.mean[rows], values)
    return {name: judges[name] for name in judged}


def _image_judges(
    names: Sequence[str],
    train: Examples,
    pictures: Callable[[], tuple[Pictures, Pictures]],
    by_shape: bool,
    epochs: int | None,
    seed: int,
    bar: Callable[[Sequence[str]], Iterable[str]],
) -> dict[str, Judge]:
    """Judges of images; images for training are asked for only if one needs them."""
    colors = [name for name in names if is_color(train.values[name])]
    judges: dict[str, Judge] = {name: ColorJudge() for name in colors}
    if len(colors) == len(names):
        return judges
    (train_images, train_values), (test_images, test_values) = pictures()
    for name in bar(names):
        if name in judges:
            continue
        options: Any = {"test": (test_images, test_values[name]), "seed": seed}
        values = train_values[name]
        view = "brightness" if by_shape else "color"
        with _naming(name):
            judges[name] = (
                shape_judge(train_images, values, **options)
                if by_shape and is_class(values)
                else ConvolutionalJudge.train(
                    train_images, values, view=view, epochs=epochs, **options
                )
            )
    return {name: judges[name] for name in names}


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Names the attribute whose judge cannot be trained in the message that says so."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"no judge of attribute {name!r}: {error}") from error


def _predicted_by_logits(names: Sequence[str], train: Examples, seed: int) -> list[str]:
    """Attributes whose classes the network itself predicts more often than not."""
    part = train.some(MOST_PREDICTED, seed)
    network, images = train.network, train.read(part)
    predicted = np.asarray(network.decode(network.encode(images))).argmax(axis=-1)
    names_predicted = []
    for name in names:
        values = train.values[name][part]
        known = known_rows(values)
        if is_class(values) and plain(values).dtype.kind in "iub" and known.any():
            right = predicted[known] == plain(values)[known]
            names_predicted += [name] if right.mean() > AGREEMENT else []
    return names_predicted


def as_pictures(examples: Examples, most: int, seed: int) -> Pictures:
    """A random choice of images as uint8, with their values, to train image judges.

    Args:
      examples: images to choose from.
      most: largest number of images, in their order.
      seed: seed of the choice.
    """
    rng = np.random.default_rng([seed, 0x7D6E])
    rows = np.sort(rng.permutation(len(examples))[:most])
    images = np.asarray(examples.read(rows))
    values = {name: x[rows] for name, x in examples.values.items()}
    return np.round(127.5 * (images + 1.0)).clip(0, 255).astype(np.uint8), values
