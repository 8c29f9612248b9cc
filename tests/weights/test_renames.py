"""The rename engine: right layouts, and every array accounted for."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy.signal import correlate2d

from iin_jax.weights import Rename, rename, renames

TABLE = (
    *renames.conv("conv"),
    *renames.norm("bn"),
    *renames.dense("head"),
    Rename("aux.*", None),
)


class Tiny(nn.Module):
    """Convolution, normalisation, mean, linear layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (3, 2), padding="VALID", name="conv")(x)
        x = nn.BatchNorm(use_running_average=True, name="bn")(x)
        return nn.Dense(4, name="head")(x.mean((1, 2)))


@pytest.fixture(scope="module")
def template():
    return jax.eval_shape(Tiny().init, jax.random.key(0), np.zeros((1, 6, 5, 2)))


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shapes = {
        "conv.weight": (3, 2, 3, 2),
        "conv.bias": (3,),
        "bn.weight": (3,),
        "bn.bias": (3,),
        "bn.running_mean": (3,),
        "bn.running_var": (3,),
        "head.weight": (4, 3),
        "head.bias": (4,),
    }
    found = {name: rng.uniform(0.5, 1.5, shape) for name, shape in shapes.items()}
    return {name: array.astype(np.float32) for name, array in found.items()}


def test_renamed_arrays_compute_what_the_formulas_say(template, arrays):
    variables = rename({**arrays, "aux.weight": np.zeros(9)}, TABLE, template, "Tiny")
    image = np.random.default_rng(1).standard_normal((6, 5, 2)).astype(np.float32)
    maps = np.stack(
        [
            sum(
                correlate2d(image[..., c], arrays["conv.weight"][o, c], "valid")
                for c in (0, 1)
            )
            for o in range(3)
        ],
        axis=-1,
    )
    x = maps + arrays["conv.bias"]
    x = (x - arrays["bn.running_mean"]) / np.sqrt(arrays["bn.running_var"] + 1e-5)
    x = (x * arrays["bn.weight"] + arrays["bn.bias"]).mean((0, 1))
    expected = arrays["head.weight"] @ x + arrays["head.bias"]
    np.testing.assert_allclose(
        Tiny().apply(variables, image[None])[0], expected, rtol=1e-5
    )


def test_counters_of_batches_are_known_and_not_needed(template, arrays):
    counter = {"bn.num_batches_tracked": np.int64(3)}
    renamed = rename({**arrays, **counter}, TABLE, template, "Tiny")
    assert set(renamed["batch_stats"]["bn"]) == {"mean", "var"}


def test_every_fault_is_in_one_message(template, arrays):
    arrays["head.weight"] = arrays["head.weight"][:, :2]
    arrays["bn.bias"] = np.zeros(3, np.int32)
    del arrays["conv.bias"], arrays["bn.running_var"]
    arrays["stray.kernel"] = np.zeros((1, 2), np.float32)
    table = (*TABLE, *renames.dense("other"))
    arrays["other.weight"] = np.zeros((5, 5), np.float32)
    with pytest.raises(ValueError) as error:
        rename(arrays, table, template, "Tiny", path="a/tiny.npz")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("a/tiny.npz: the arrays are not the weights of Tiny")
    for kind, name in (
        ("misshapen", "head.weight"),
        ("no floating-point numbers", "bn.bias (int32)"),
        ("missing", "params/conv/bias"),
        ("missing", "batch_stats/bn/var"),
        ("unused", "stray.kernel (1, 2)"),
        ("extra", "other.weight (5, 5)"),
    ):
        assert name in message.split(f"{kind}: ")[1].split(";")[0]


def test_two_arrays_for_one_place_are_an_error(template, arrays):
    table = (*TABLE, Rename("twin", "params/head/bias"))
    with pytest.raises(ValueError, match="given twice: twin"):
        rename({**arrays, "twin": arrays["head.bias"]}, table, template, "Tiny")


def test_a_long_list_is_cut_and_counted(template):
    many = {f"x{i:03d}": np.zeros(1, np.float32) for i in range(50)}
    with pytest.raises(ValueError, match=r"x019 \(1,\) and 30 more"):
        rename(many, TABLE, template, "Tiny")


def test_half_precision_is_not_an_error_but_float32_comes_out(template, arrays):
    half = {name: array.astype(np.float16) for name, array in arrays.items()}
    variables = rename(half, TABLE, template, "Tiny")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}


def test_there_and_back(template, arrays):
    variables = rename(arrays, TABLE, template, "Tiny")
    names = [*arrays, "bn.num_batches_tracked"]
    back = renames.rename_back(variables, TABLE, names)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
    with pytest.raises(ValueError, match=r"nothing for: conv.scale"):
        renames.rename_back(variables, TABLE, ["conv.scale"])
