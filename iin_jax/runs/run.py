"""One run of an experiment: the parts that its settings make."""

import dataclasses
from pathlib import Path

from iin_jax.networks import Network
from iin_jax.runs.concepts import RunConcepts
from iin_jax.runs.folder import RunFolder
from iin_jax.runs.images import RunImages
from iin_jax.runs.latents import RunLatents
from iin_jax.runs.settings import Experiment


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run of an experiment.

    Attributes:
      name: name of the experiment.
      experiment: its settings.
      command: the line that starts it, and goes on with it.
      folder: where everything goes.
      images: which images these are, and how they are split.
      concepts: what is asked about, and who forms pairs.
      latents: what the network makes of the images.
    """

    name: str
    experiment: Experiment
    command: str
    folder: RunFolder
    images: RunImages
    concepts: RunConcepts
    latents: RunLatents

    @classmethod
    def of(cls, name: str, experiment: Experiment, path: Path, command: str) -> "Run":
        """A run with its parts; ``path`` is its folder. Reads and writes nothing."""
        folder, images = RunFolder(path), RunImages(experiment)
        concepts = RunConcepts(experiment, images)
        latents = RunLatents(experiment, folder, concepts)
        return cls(name, experiment, command, folder, images, concepts, latents)

    @property
    def network(self) -> Network:
        """The finished network of this run."""
        return self.folder.network
