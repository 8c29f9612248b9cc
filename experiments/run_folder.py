"""The folder of one run: who may use it, which settings made it, what is complete."""

import contextlib
import dataclasses
import fcntl
import functools
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.settings import Experiment, differences
from iin_jax import networks
from iin_jax.data import (
    SOURCES,
    ColoredSet,
    Dataset,
    LatentCache,
    colored_set,
    load_latents,
    palette,
    split_indices,
)
from iin_jax.networks import Network, load_network

VALIDATION_COLORS = 64
RESULTS = {  # of the stages, in order
    "network": "network/network.json",
    "latents": "latents/validation/origin.json",
    "sizes": "sizes.json",
    "flow": "interpreter/interpreter.json",
    "evaluate": "scorecard.json",
    "report": "report.html",
}
IMAGES_PER_COLOR = 8  # at least, in training
COLOR_SEEDS = {"train": 0, "validation": 1, "test": 2, "swap a": 3, "swap b": 4}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of an experiment.

    Attributes:
      name: of the experiment.
      experiment: its settings.
      folder: where everything goes.
      command: that starts it, and goes on with it.
    """

    name: str
    experiment: Experiment
    folder: Path
    command: str

    @functools.cached_property
    def dataset(self) -> Dataset:
        data = self.experiment.data
        return SOURCES[data.source](data.image_size)

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """split -> indices of images; no image is in two."""
        data = self.experiment.data
        fractions = {"validation": data.validation, "test": data.test}
        return split_indices(len(self.dataset), fractions, self.experiment.seed)

    @functools.cached_property
    def train_colors(self) -> np.ndarray:
        """The palette, cut so that each colour is on many images and has partners."""
        latents = self.experiment.latents
        entries = len(self.splits["train"]) * latents.variants * latents.colors
        most = max(latents.colors, entries // IMAGES_PER_COLOR)
        return self.colors("train", min(self.experiment.data.palette, most))

    @functools.cached_property
    def train_set(self) -> ColoredSet:
        """Training images, distorted and coloured, that the flow sees."""
        latents = self.experiment.latents
        return colored_set(
            self.dataset.images,
            self.splits["train"],
            self.train_colors,
            copies=latents.colors,
            variants=latents.variants,
            augment=latents.augment,
            seed=self.experiment.seed,
        )

    @functools.cached_property
    def validation_set(self) -> ColoredSet:
        """Validation images, undistorted, in colours of their own."""
        indices = self.splits["validation"]
        colors = self.colors("validation", min(VALIDATION_COLORS, len(indices) // 2))
        return colored_set(
            self.dataset.images,
            indices,
            colors,
            copies=8,
            seed=self.experiment.seed + 1,
        )

    @functools.cached_property
    def test_set(self) -> ColoredSet:
        """Test images, undistorted, in colours outside the palette."""
        copies = self.experiment.evaluate.colors
        indices = self.splits["test"]
        colors = self.colors("test", len(indices) * copies)
        return colored_set(
            self.dataset.images,
            indices,
            colors,
            copies=copies,
            seed=self.experiment.seed,
        )

    @functools.cached_property
    def network(self) -> Network:
        """The finished network of this run."""
        return load_network(self.folder / "network")

    def reused_network(self, folder: Path) -> Network:
        """The network of another finished run, if none of our test images trained it.

        Raises:
          ValueError: no network there, or a run on other data or another split.
        """
        network = load_network(folder / "network")
        theirs = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        ours = json.loads(json.dumps(dataclasses.asdict(self.experiment)))
        for name in ("data", "seed"):
            lines = differences(theirs["experiment"][name], ours[name], name)
            if lines:
                raise ValueError(
                    f"the network of {folder} was trained on other images "
                    f"({'; '.join(lines)}), perhaps on this run's test images"
                )
        if network.latent_shape != (self.experiment.network.latent_dim,):
            raise ValueError(
                f"the network of {folder} has latents {network.latent_shape}; set "
                f"--network.latent-dim accordingly"
            )
        return network

    def pretrained_network(self) -> Network:
        """The pretrained network that the settings name, cut at their layer.

        Raises:
          ValueError: no such network, layer or weights, or another number of latent
            dimensions than the settings say.
        """
        settings = self.experiment.network
        network = networks.load(
            settings.name,
            settings.weights,
            settings.layer,
            image_size=self.experiment.data.image_size,
            download=settings.download,
        )
        dim = math.prod(network.latent_shape)
        if dim != settings.latent_dim:
            raise ValueError(
                f"layer {network.layer} of {settings.name} at "
                f"{self.experiment.data.image_size} pixels has {dim} numbers "
                f"{network.latent_shape}; set --network.latent-dim {dim}"
            )
        return network

    def colors(self, purpose: str, count: int) -> np.ndarray:
        """Colours (count, 3); two purposes have none in common."""
        return palette(count, 10 * self.experiment.seed + COLOR_SEEDS[purpose])

    def latents(self, split: str) -> LatentCache:
        """The cached latents of ``"train"`` or ``"validation"``."""
        return load_latents(self.folder / "latents" / split, self.network)

    def labels(self, images: ColoredSet) -> dict[str, np.ndarray]:
        """Discrete concepts of entries, for pairing."""
        digits = self.dataset.labels["digit"][images.item]
        return {"digit": digits, "color": images.color}

    def attributes(
        self, images: ColoredSet, entries: np.ndarray | slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """True values of entries, for judges, probes and pictures: colours as RGB."""
        digits = self.dataset.labels["digit"][images.item[entries]]
        return {"digit": digits, "color": images.rgb[entries]}

    def read_json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Writes a file whole or not at all."""
        unfinished = self.folder / f".{name}.unfinished"
        unfinished.write_text(json.dumps(value, indent=2), encoding="utf-8")
        os.replace(unfinished, self.folder / name)

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """stage -> ``complete``, ``seconds``, as far as the run has come."""
        exists = (self.folder / "stages.json").is_file()
        return self.read_json("stages.json") if exists else {}

    def is_complete(self, stage: str) -> bool:
        """Whether a stage has run to its end and its result is still there."""
        done = self.stages.get(stage, {}).get("complete", False)
        return done and (self.folder / RESULTS[stage]).is_file()

    @contextlib.contextmanager
    def timed_stage(self, stage: str) -> Iterator[None]:
        """Adds to a stage's seconds; marks it complete unless it was interrupted."""
        before = self.stages.get(stage, {}).get("seconds", 0.0)
        start, complete = time.monotonic(), False
        try:
            yield
            complete = True
        finally:
            seconds = before + time.monotonic() - start
            entry = {"complete": complete, "seconds": round(seconds, 2)}
            self.write_json("stages.json", {**self.stages, stage: entry})


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and holds it alone; the kernel frees it even after a kill.

    Raises:
      ValueError: the folder cannot be written, or another run holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ValueError(f"the workdir cannot be written: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"the workdir {folder} is in use by another run; wait for it or take "
                "another folder"
            ) from error
        yield


def check_settings(run: Run) -> None:
    """Records the settings of a new run, or compares them with the recorded ones.

    Raises:
      ValueError: the folder was made with other settings; names the fields.
    """
    settings = {
        "name": run.name,
        "experiment": json.loads(json.dumps(dataclasses.asdict(run.experiment))),
    }
    if not (run.folder / "config.json").is_file():
        run.write_json("config.json", settings)
        return
    lines = differences(run.read_json("config.json"), settings)
    if lines:
        shown = "; ".join(line.removeprefix("experiment.") for line in lines)
        raise ValueError(
            f"{run.folder} was made with other settings ({shown}); nothing was "
            "resumed: repeat its settings or take another folder"
        )
