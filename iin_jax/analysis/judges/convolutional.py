"""A small convolutional network as an outside judge, trained on real images alone."""

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
SMALL_SET = 5000  # images up to which a support vector machine is trained instead
BATCH = 128  # images per step
READ_BATCH = 512  # images per call once trained
EPOCHS = 5  # unless given, and
LEAST_STEPS = 600
RATE = 2e-3  # peak of the learning rate
SHIFT = 2  # pixels by which shapes are shifted while they are learned


class Meaning(NamedTuple):
    """How the network's outputs are read.

    Attributes:
      classes: sorted, (k,), one per logit; None if the outputs are real values.
      mean, std: (d,), of the real values that were trained on.
      shape: of one value.
    """

    classes: np.ndarray | None
    mean: np.ndarray
    std: np.ndarray
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ConvolutionalJudge(ReadingJudge):
    """Reads classes or real values from images with a convolutional network.

    Attributes:
      module, params: the network.
      meaning: of its outputs.
      view: what it looks at: ``"brightness"`` (shape in any colour) or ``"color"``.
      image_size: (H, W).
      test_accuracy: share of right classes on the test images; None without.
      test_error: mean absolute error of real values on them; None without.
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
        """What it tells apart, sorted, (k,); None if it reads real values."""
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
          images: uint8 (n, H, W, C).
          values: classes (n,), or real values (n,) or (n, d); rows whose value is
            masked or NaN are left out.
          test: images and values that are held out.
          epochs: passes over the images; None: 5, and at least 600 steps.
          seed: of weights, order and shifts.
          view: ``"brightness"``: the maximum over channels, stretched to [0, 1] per
            image, so that a shape is read in any colour; ``"color"``: as they are.
          shift: pixels by which images are moved, up to, while they are learned from;
            wrong for attributes that say where something is.

        Raises:
          ValueError: images that are not uint8 (n, H, W, C) of at least 8x8 pixels,
            another number of values, fewer than two known values or a single class, no
            epoch, or an unknown view.
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
            drawn = jax.random.fold_in(key, index)
            params, state = step(params, state, pictures, expected, drawn)
            jax.block_until_ready(state)  # queued steps would hold their batches
        judge = cls(module, params, meaning, view, images.shape[1:3])
        return judge if test is None else judge._measured(*test)

    def read(self, images: Images) -> np.ndarray:
        """Classes (B,), or real values (B,) or (B, d), of images in [-1, 1].

        Raises:
          ValueError: images of another size than it was trained on.
        """
        if tuple(np.shape(images))[1:3] != self.image_size:
            height, width = self.image_size
            raise ValueError(
                f"this judge was trained on images of {height}x{width} pixels; got "
                f"shape {tuple(np.shape(images))}"
            )

        def read(part: slice) -> Images:
            return jnp.asarray(images[part], jnp.float32)

        see = functools.partial(outputs_of, self.module, self.view, self.params)
        batches = in_batches(see, read, len(images), READ_BATCH)
        outputs = np.concatenate([part for _, part in batches])
        if self.classes is not None:
            return self.classes[outputs.argmax(axis=-1)]
        values = outputs * self.meaning.std + self.meaning.mean
        return values.reshape(-1, *self.meaning.shape)

    def _measured(self, images: np.ndarray, values: np.ndarray) -> "ConvolutionalJudge":
        rows = np.flatnonzero(known_rows(values))
        if not len(rows):
            return self
        parts = [rows[part] for part in batch_slices(len(rows), READ_BATCH)]
        shares = [
            self.score(to_signed(images[part]), plain(values)[part]) * len(part)
            for part in parts
        ]
        figure = sum(shares) / len(rows)
        field = "test_error" if self.classes is None else "test_accuracy"
        return dataclasses.replace(self, **{field: figure})


def shape_judge(
    images: np.ndarray,
    classes: np.ndarray,
    *,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> ShapeJudge | ConvolutionalJudge:
    """A judge of shapes in any colour; its ``kind`` says which it is.

    A support vector machine on up to 5,000 images, beyond that a convolutional network
    whose images are shifted by up to 2 pixels while it learns.

    Args:
      images: uint8 (n, H, W, C).
      classes: (n,); rows that are masked are left out.
      test: images and classes that are held out, for ``test_accuracy``.
      seed: of the network's training.
    """
    if known_rows(classes).sum() <= SMALL_SET:
        return ShapeJudge.train(images, classes, test=test)
    return ConvolutionalJudge.train(images, classes, test=test, seed=seed, shift=SHIFT)


def _as_numbers(values: np.ndarray) -> tuple[np.ndarray, Meaning]:
    """Class indices (n,), or standardised real values (n, d)."""
    if is_class(values):
        classes, indices = np.unique(values, return_inverse=True)
        none = np.zeros(0)
        return indices.astype(np.int32), Meaning(classes, none, none, ())
    flat = values.reshape(len(values), -1).astype(np.float32)
    mean, std = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)
    return (flat - mean) / std, Meaning(None, mean, std, values.shape[1:])


def _check(
    images: np.ndarray, values: np.ndarray, view: str, epochs: int | None
) -> None:
    shape = np.shape(images)
    if len(shape) != 4 or images.dtype != np.uint8 or min(shape[1:3]) < 8:
        raise ValueError(
            "a judge is trained on uint8 images (n, H, W, C) of at least 8x8 pixels; "
            f"got {images.dtype} {shape}"
        )
    if len(values) != len(images):
        raise ValueError(f"{len(images)} images need as many values; got {len(values)}")
    rows = known_rows(values)
    kinds = len(np.unique(plain(values)[rows])) if is_class(values) else rows.sum()
    if kinds < 2:
        raise ValueError(
            f"a judge learns from two classes or real values at least; got {kinds} in "
            f"{rows.sum()} known of {len(values)} values"
        )
    if view not in VIEWS:
        raise ValueError(f"a judge's view is one of {', '.join(VIEWS)}; got {view!r}")
    if epochs is not None and epochs < 1:
        raise ValueError(f"a judge is trained for at least one epoch; got {epochs}")
