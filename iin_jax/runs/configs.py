"""Configs: files with ``EXPERIMENT``, ``BUDGETS`` and ``COMPARED``, shipped or own."""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from iin_jax.files.hints import near, nearest
from iin_jax.files.paths import local_path
from iin_jax.runs.compared import check_compared
from iin_jax.runs.settings import Experiment

# shipped configs of an installed package, and of a checkout that it runs from
INSTALLED = Path(__file__).with_name("shipped")
CHECKOUT = Path(__file__).parents[2] / "experiments" / "configs"
FULL = "full"


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment, as a file says it.

    Attributes:
      name: the file's name without its ending.
      experiment: the settings of the full experiment.
      budgets: budget -> settings of a shorter one.
      description: the file's docstring.
      compared: name of a run -> "section.field" -> value, where the experiment is
        several runs side by side; empty: it is one.
    """

    name: str
    experiment: Experiment
    budgets: Mapping[str, Experiment]
    description: str
    compared: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def within(self, budget: str) -> Experiment:
        """The settings at a budget.

        Raises:
          ValueError: the file has no such budget.
        """
        known = {FULL: self.experiment, **self.budgets}
        if budget not in known:
            raise ValueError(
                f"{self.name} has no budget {budget!r}{nearest(budget, known)}"
            )
        return known[budget]


def names() -> list[str]:
    """All experiments that are shipped."""
    return sorted(path.stem for path in shipped_folder().glob("*.py"))


def shipped_folder() -> Path:
    """Where the shipped configs are."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def find(name: str) -> Config:
    """The config of an experiment.

    Args:
      name: a shipped one, or the path of a file of one's own: with ``EXPERIMENT``, an
        ``Experiment``, ``BUDGETS``, if it has shorter ones, and ``COMPARED``, if it is
        several runs. What the file registers (data sources, flows, terms) can be named
        in its settings.

    Raises:
      ValueError: no such experiment, where the message offers the nearest one, or a
        file that is missing, not Python, or without ``EXPERIMENT``.
    """
    if name.endswith(".py") or os.sep in name:
        return load(local_path(name))
    known = names()
    if name not in known:
        hint = near(name, known, repr, 0.4)
        raise ValueError(
            f"no experiment {name!r}{hint} (there are: {', '.join(known)}; or give the "
            "path of a config file)"
        )
    return load(shipped_folder() / f"{name}.py")


def load(path: Path) -> Config:
    """The config in a file.

    Raises:
      ValueError: as ``find``.
    """
    if not path.is_file():
        raise ValueError(f"there is no config file {path}")
    module = _executed(path)
    experiment = getattr(module, "EXPERIMENT", None)
    budgets = getattr(module, "BUDGETS", {})
    if not isinstance(experiment, Experiment):
        found = "none" if experiment is None else type(experiment).__name__
        raise ValueError(
            f"{path} needs an EXPERIMENT, which is an "
            f"iin_jax.runs.settings.Experiment; it has {found}"
        )
    bad = not isinstance(budgets, Mapping)
    if bad or not all(isinstance(each, Experiment) for each in budgets.values()):
        raise ValueError(f"BUDGETS in {path} is a dictionary budget -> Experiment")
    compared = getattr(module, "COMPARED", {})
    check_compared(compared, experiment, path)
    return Config(path.stem, experiment, budgets, module.__doc__ or "", compared)


def _executed(path: Path) -> ModuleType:
    """A file as a module; its classes find it among the modules."""
    name = f"iin_jax_config_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file: its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(
            f"{path} is not Python: {error.msg} (line {error.lineno})"
        ) from error
    except Exception as error:  # a user's file fails with whatever it runs into
        raise ValueError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module
