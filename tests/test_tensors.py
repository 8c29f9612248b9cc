"""PyTorch's tensors as latents of a fit."""

import numpy as np
import pytest

import iin_jax
from iin_jax.arrays import to_numpy
from tests.test_fit import BRIEF, LAYOUT, SHARED, TINY, mixed_pairs

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("form", ["gradient", "bfloat16"])
def test_tensors_are_taken_from_their_graph_and_precision(form):
    za, zb, _ = mixed_pairs(64)
    tensors = [torch.tensor(np.array(z)) for z in (za, zb)]
    if form == "gradient":
        tensors = [tensor.requires_grad_() for tensor in tensors]
    else:
        tensors = [tensor.bfloat16() for tensor in tensors]
    np.testing.assert_allclose(to_numpy(tensors[0]), za, rtol=1e-2)
    fitted = iin_jax.fit(*tensors, SHARED, LAYOUT, TINY, **BRIEF)
    assert np.isfinite(fitted.log_prob(tensors[0])).all()
