"""The sets of versions that CI installs fit what the package asks for."""

import re

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT


def lines_of(name: str) -> list[str]:
    """Requirements in a file, without comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


def pins_of(name: str) -> dict[str, str]:
    """name -> version of every line of a file, all of them exact."""
    return dict(line.split("==") for line in lines_of(name))


SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
TEST_EXTRA = re.findall(r'"([^"]+)"', SETUP.split('"test": [')[1].split("]\n")[0])
ASKED = [*map(Requirement, lines_of("requirements.txt"))]


@pytest.mark.parametrize(
    "requirement", [*ASKED, *map(Requirement, TEST_EXTRA)], ids=str
)
def test_colab_keeps_what_it_brings(requirement):
    version = pins_of(".ci/colab.txt").get(requirement.name)
    if version is not None:
        assert version in requirement.specifier, f"Colab has {version}"


def test_the_test_extra_is_read_whole():
    assert {"pytest>=8.0", "pyright[nodejs]>=1.1.390"} < set(TEST_EXTRA)
    assert f'"{TEST_EXTRA[-1]}",\n        ],' in SETUP


def test_colab_brings_what_the_package_stands_on():
    pins = pins_of(".ci/colab.txt")
    assert {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"} < set(pins)
    assert set(pins) - {"jaxlib"} <= {requirement.name for requirement in ASKED}


def test_what_colab_brings_is_the_lower_bound_so_that_one_set_is_both():
    lowest = pins_of(".ci/lowest.txt")
    for name, version in pins_of(".ci/colab.txt").items():
        assert lowest.get(name, version) == version, name


def test_the_lowest_versions_are_the_lower_bounds():
    pins = pins_of(".ci/lowest.txt")
    assert pins.pop("tensorflow-metadata")
    assert [f"{name}>={version}" for name, version in pins.items()] == lines_of(
        "requirements.txt"
    )
