"""The folder of one run: who may use it, which settings made it, what is complete."""

import contextlib
import dataclasses
import fcntl
import functools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.checks import differences
from experiments.run_concepts import RunConcepts
from experiments.run_images import WHERE_DATA_LIES
from experiments.settings import Experiment
from iin_jax import networks
from iin_jax.files.whole import write_text
from iin_jax.latents import LatentCache, StaleLatentsError, encode_to, load_latents
from iin_jax.networks import Network, load_network
from iin_jax.prepared import PreparedLatents

RESULTS = {  # result file of each stage, in order
    "network": "network/network.json",
    "latents": "latents/validation/origin.json",
    "sizes": "sizes.json",
    "flow": "interpreter/interpreter.json",
    "evaluate": "scorecard.json",
    "report": "report.html",
}


@dataclasses.dataclass(frozen=True)
class Run(RunConcepts):
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
    def network(self) -> Network:
        """The finished network of this run."""
        return load_network(self.folder / "network")

    def check_data(self) -> None:
        """Records which images these are, or compares them with the recorded ones.

        Raises:
          ValueError: the images are not those that the run was begun with: its split
            would be another, and images that trained would be tested on.
        """
        if not (self.folder / "data.json").is_file():
            self.write_json("data.json", self.describe_data())
        elif self.read_json("data.json")["digest"] != self.dataset.digest:
            raise ValueError(
                f"the images or labels have changed since {self.folder} was begun; "
                "nothing was resumed: restore them or take another folder"
            )

    def reused_network(self, folder: Path) -> Network:
        """The network of another finished run, if none of our test images trained it.

        Raises:
          ValueError: no network there, or a run on other data or another split.
        """
        network = load_network(folder / "network")
        theirs = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        ours = json.loads(json.dumps(dataclasses.asdict(self.experiment)))
        lines = []
        for name in ("data", "seed"):
            lines += differences(theirs["experiment"][name], ours[name], name)
        lines = [line for line in lines if line.split(":")[0] not in WHERE_DATA_LIES]
        if not lines:
            found = json.loads((folder / "data.json").read_text(encoding="utf-8"))
            lines = differences(found["digest"], self.dataset.digest, "digest of data")
        if lines:
            raise ValueError(
                f"the network of {folder} was trained on other images "
                f"({'; '.join(lines)}), perhaps on this run's test images"
            )
        dim = math.prod(network.latent_shape)
        if dim != self.experiment.network.latent_dim:
            raise ValueError(
                f"the network of {folder} has latents of {dim} numbers; set "
                f"--network.latent-dim {dim}"
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

    def latents(self, split: str) -> LatentCache:
        """The cached latents of ``"train"`` or ``"validation"``.

        A cache that is cut short, or was made by another network or from other images,
        is made again, and that is said.
        """
        folder = self.folder / "latents" / split
        try:
            return load_latents(folder, self.network, self.digest_of(split))
        except StaleLatentsError as error:
            print(f"{error}: encoding again")
            return self.encode(split)

    def prepared_split(self, split: str) -> PreparedLatents:
        """The cached latents of a split with their concepts."""
        return self.prepared(self.cached_set(split), self.latents(split))

    def encode(self, split: str) -> LatentCache:
        """Encodes a split's images into the run's cache."""
        images = self.cached_set(split)
        return encode_to(
            self.folder / "latents" / split,
            self.network,
            images.images,
            len(images),
            data=self.digest_of(split),
            progress=split,
        )

    def encoding_speed(self) -> dict[str, float]:
        """Entries in the training cache, and how many were encoded per second."""
        origin = self.read_json("latents/train/origin.json")
        return {name: origin[name] for name in ("entries", "images_per_second")}

    def read_json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Writes a file whole or not at all."""
        write_text(self.folder / name, json.dumps(value, indent=2))

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
