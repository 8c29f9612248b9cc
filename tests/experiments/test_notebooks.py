"""The notebook for the badge is the text notebook, and holds no outputs."""

import json

import jupytext
import pytest

from tests.conftest import ROOT

SOURCES = sorted((ROOT / "experiments" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_ipynb_is_generated_from_the_text(source):
    generated = json.loads(source.with_suffix(".ipynb").read_text())
    expected = jupytext.read(source)
    assert len(generated["cells"]) == len(expected.cells) > 10
    for cell, other in zip(generated["cells"], expected.cells, strict=True):
        text = cell["source"]
        text = "".join(text) if isinstance(text, list) else text
        assert (cell["cell_type"], text) == (other.cell_type, other.source)
        assert not cell.get("outputs")
