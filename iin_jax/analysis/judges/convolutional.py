"""A small convolutional network as an outside judge, trained on real images only."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.analysis.judges.base import JudgeTest, ReadingJudge
from iin_jax.analysis.judges.network import (
    JudgeNetwork,
    View,
    batches,
    first_params,
    judge_training,
    outputs_of,
    to_signed,
)
from iin_jax.analysis.judges.pictures import ShapeJudge
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.latents.batches import batch_slices, in_batches
from iin_jax.types import Images, Tree

VIEWS = ("brightness", "color")
SMALL_SET = 5000  # most images for which a shape judge is a support vector machine
BATCH = 128  # most images per training step
READ_BATCH = 512  # images per call of the trained network
EPOCHS = 5  # fewest epochs where their number is not given
LEAST_STEPS = 600  # fewest steps where the number of epochs is not given
RATE = 2e-3  # peak of the learning rate
SHIFT = 2  # largest random shift of a shape judge's training images, in pixels


class Meaning(NamedTuple):
    """Meaning of the network's outputs.

    Attributes:
      classes: class of each logit, sorted, (k,); None if the outputs are real values.
      mean, std: mean and standard deviation of the real training values, (d,); (0,)
        for classes.
      shape: shape of one real value; () for classes.
    """

    classes: np.ndarray | None
    mean: np.ndarray
    std: np.ndarray
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ConvolutionalJudge(ReadingJudge):
    """Reads classes or real values from images with a convolutional network.

    Attributes:
      module, params: the network and its trained parameters.
      meaning: meaning of the network's outputs.
      view: input of the network, ``"brightness"`` (shapes in any colour) or
        ``"color"``.
      image_size: (H, W) of its images, in pixels.
      test_accuracy: share of right classes on test images, in [0, 1]; None without
        test images or for real values.
      test_error: mean absolute error of real values on test images; None without test
        images or for classes.
    """

    module: JudgeNetwork
    params: Tree
    meaning: Meaning
    view: View
    image_size: tuple[int, int]
    test_accuracy: float | None = None
    test_error: float | None = None
    kind = "convolutional network"

    def tested(self) -> JudgeTest | None:
        if self.test_accuracy is None and self.test_error is None:
            return None
        return JudgeTest(self.kind, self.test_accuracy, self.test_error)

    @property
    def classes(self) -> np.ndarray | None:
        """Classes that it tells apart, sorted, (k,); None if it reads real values."""
        return self.meaning.classes

    @property
    def measure(self) -> str:
        return "mean_abs_error" if self.classes is None else "accuracy"

    @classmethod
    def train(
        cls,
        images: np.ndarray,
        values: np.ndarray,
        *,
        test: tuple[np.ndarray, np.ndarray] | None = None,
        epochs: int | None = None,
        seed: int = 0,
        view: View = "brightness",
        shift: int = 0,
    ) -> "ConvolutionalJudge":
        """Trains with Adam and a one-cycle learning rate.

        Args:
          images: uint8 (n, H, W, C), at least 8x8 pixels.
          values: classes (n,), or real values (n,) or (n, d); rows whose value is
            masked or NaN are left out.
          test: held-out images and values, in the same form.
          epochs: passes over the images, at least 1; None: 5, more if these are fewer
            than 600 steps.
          seed: seed of weights, order and shifts.
          view: ``"brightness"``: the maximum over channels, stretched to [0, 1] per
            image, so that a shape is read in any colour; ``"color"``: all channels.
          shift: largest random shift of a training image, in pixels. A shift hides
            attributes that say where something is.

        Raises:
          ValueError: images that are not uint8 (n, H, W, C) of at least 8x8 pixels,
            another number of values than images, fewer than two known real values or
            classes, an epoch number below 1, or an unknown view.
        """
        _check(images, values, view, epochs)
        rows = np.flatnonzero(known_rows(values))
        numbers, meaning = _as_numbers(plain(values)[rows])
        batch = min(BATCH, len(rows))
        per_epoch = len(rows) // batch
        steps = per_epoch * (epochs or max(EPOCHS, math.ceil(LEAST_STEPS / per_epoch)))
        module, tx, step = judge_training(
            len(meaning.mean) if meaning.classes is None else len(meaning.classes),
            max(1, round(math.log2(images.shape[1] / 4))),
            view,
            shift,
            steps,
            RATE,
        )
        key = jax.random.key(seed)
        params = first_params(module, view, key, to_signed(images[rows[:1]]))
        state = tx.init(params)
        for index, chosen in enumerate(batches(len(rows), batch, steps, seed)):
            pictures, expected = images[rows[chosen]], numbers[chosen]
            step_key = jax.random.fold_in(key, index)
            params, state = step(params, state, pictures, expected, step_key)
            jax.block_until_ready(state)  # queued steps would hold their batches
        judge = cls(module, params, meaning, view, images.shape[1:3])
        return judge if test is None else judge._measured(*test)

    def read(self, images: Images) -> np.ndarray:
        """Reads classes (B,), or real values (B,) or (B, d).

        Args:
          images: (B, H, W, C) in [-1, 1].

        Raises:
          ValueError: images of another size than the training images.
        """
        if tuple(np.shape(images))[1:3] != self.image_size:
            height, width = self.image_size
            raise ValueError(
                f"this judge was trained on images of {height}x{width} pixels; got "
                f"shape {tuple(np.shape(images))}"
            )

        def read(part: slice) -> Images:
            return jnp.asarray(images[part], jnp.float32)

        predict = functools.partial(outputs_of, self.module, self.view, self.params)
        batches = in_batches(predict, read, len(images), READ_BATCH)
        outputs = np.concatenate([part for _, part in batches])
        if self.classes is not None:
            return self.classes[outputs.argmax(axis=-1)]
        values = outputs * self.meaning.std + self.meaning.mean
        return values.reshape(-1, *self.meaning.shape)

    def _measured(self, images: np.ndarray, values: np.ndarray) -> "ConvolutionalJudge":
        """The same judge with its figure on test images, unless no value is known."""
        rows = np.flatnonzero(known_rows(values))
        if not len(rows):
            return self
        parts = [rows[part] for part in batch_slices(len(rows), READ_BATCH)]
        totals = [
            self.score(to_signed(images[part]), plain(values)[part]) * len(part)
            for part in parts
        ]
        figure = sum(totals) / len(rows)
        field = "test_error" if self.classes is None else "test_accuracy"
        return dataclasses.replace(self, **{field: figure})


def shape_judge(
    images: np.ndarray,
    classes: np.ndarray,
    *,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> ShapeJudge | ConvolutionalJudge:
    """Trains a judge of shapes in any colour, of a kind that suits the set's size.

    Up to 5,000 images with a class train a support vector machine; more train a
    convolutional network, on images randomly shifted by up to 2 pixels.

    Args:
      images: uint8 (n, H, W, C).
      classes: (n,); masked rows are left out.
      test: held-out images and classes, for ``test_accuracy``.
      seed: seed of the network's training.

    Returns:
      The judge; its ``kind`` names the model.

    Raises:
      ValueError: images or classes that the judge cannot learn from.
    """
    if known_rows(classes).sum() <= SMALL_SET:
        return ShapeJudge.train(images, classes, test=test)
    return ConvolutionalJudge.train(images, classes, test=test, seed=seed, shift=SHIFT)


def _as_numbers(values: np.ndarray) -> tuple[np.ndarray, Meaning]:
    """Class indices (n,), or standardised real values (n, d), with their meaning."""
    if is_class(values):
        classes, indices = np.unique(values, return_inverse=True)
        empty = np.zeros(0)
        return indices.astype(np.int32), Meaning(classes, empty, empty, ())
    flat = values.reshape(len(values), -1).astype(np.float32)
    mean, std = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)
    return (flat - mean) / std, Meaning(None, mean, std, values.shape[1:])


def _check(
    images: np.ndarray, values: np.ndarray, view: str, epochs: int | None
) -> None:
    """Raises ValueError for training data or options that ``train`` cannot use."""
    shape = np.shape(images)
    if len(shape) != 4 or images.dtype != np.uint8 or min(shape[1:3]) < 8:
        raise ValueError(
            "a judge is trained on uint8 images (n, H, W, C) of at least 8x8 pixels; "
            f"got {images.dtype} {shape}"
        )
    if len(values) != len(images):
        raise ValueError(f"{len(images)} images need as many values; got {len(values)}")
    rows = known_rows(values)
    known = plain(values)[rows]
    distinct = len(np.unique(known)) if is_class(values) else rows.sum()
    if distinct < 2:
        raise ValueError(
            "a judge learns from two classes or real values at least; got "
            f"{distinct} in {rows.sum()} known of {len(values)} values"
        )
    if view not in VIEWS:
        raise ValueError(f"a judge's view is one of {', '.join(VIEWS)}; got {view!r}")
    if epochs is not None and epochs < 1:
        raise ValueError(f"a judge is trained for at least one epoch; got {epochs}")
