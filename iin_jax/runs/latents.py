"""The latents of a run: which entries are encoded, and their cache in its folder."""

import dataclasses
import hashlib
import json

import numpy as np

from iin_jax.data import ImageSet
from iin_jax.latents import LatentCache, StaleLatentsError, encode_to, load_latents
from iin_jax.prepared import PreparedLatents
from iin_jax.runs.concepts import RunConcepts, image_numbers
from iin_jax.runs.differences import WHERE_DATA_LIES
from iin_jax.runs.folder import RunFolder
from iin_jax.runs.settings import Experiment

STREAM_CACHED = 16_384  # entries that probes and references stand on, if streamed


@dataclasses.dataclass(frozen=True, eq=False)
class RunLatents:
    """What the network of a run makes of its images.

    A split is ``"train"`` or ``"validation"``.

    Attributes:
      experiment: the settings.
      folder: where the network and the caches are.
      concepts: the concepts, and the images.
    """

    experiment: Experiment
    folder: RunFolder
    concepts: RunConcepts

    def images(self, split: str) -> ImageSet:
        """The entries of a split that are in the cache: all, or a part if streamed."""
        shown = self.concepts.images
        images = shown.validation_set if split == "validation" else shown.train_set
        if self.experiment.latents.mode == "cache" or len(images) <= STREAM_CACHED:
            return images
        rng = np.random.default_rng([self.experiment.seed, 0xCAC4E])
        return images.subset(np.sort(rng.permutation(len(images))[:STREAM_CACHED]))

    def encode(self, split: str) -> LatentCache:
        """Encodes a split's images into the run's cache."""
        images = self.images(split)
        return encode_to(
            self.folder.path / "latents" / split,
            self.folder.network,
            images.images,
            len(images),
            data=self._digest(split),
            progress=split,
        )

    def cached(self, split: str) -> LatentCache:
        """The cached latents of a split.

        A cache that is cut short, or was made by another network or from other images,
        is made again, and that is said.
        """
        folder = self.folder.path / "latents" / split
        try:
            return load_latents(folder, self.folder.network, self._digest(split))
        except StaleLatentsError as error:
            print(f"{error}: encoding again")
            return self.encode(split)

    def prepared(self, split: str) -> PreparedLatents:
        """The cached latents of a split with their pairs."""
        images, latents = self.images(split), self.cached(split)
        source = self.concepts.source(images)
        return PreparedLatents(
            latents.mean, latents.log_var, source, image_numbers(images)
        )

    def encoding_speed(self) -> dict[str, float]:
        """Entries in the training cache, and how many were encoded per second."""
        origin = self.folder.read_json("latents/train/origin.json")
        return {name: origin[name] for name in ("entries", "images_per_second")}

    def _digest(self, split: str) -> str:
        """SHA-256 of all that a split's latents depend on, beside the network."""
        experiment = self.experiment
        made_of = {
            "images": self.concepts.images.dataset.digest,
            "data": dataclasses.asdict(experiment.data),
            "latents": dataclasses.asdict(experiment.latents),
            "seed": experiment.seed,
            "split": split,
        }
        for name in WHERE_DATA_LIES:
            made_of["data"].pop(name.removeprefix("data."))
        text = json.dumps(made_of, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
