"""What makes XLA fast on CPUs changes no result."""

import jax
import numpy as np
import pytest

from iin_jax.training import cpu
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.state import TrainState
from tests.conftest import normal


@pytest.fixture(autouse=True)
def tried_with_every_jaxlib(monkeypatch):
    monkeypatch.setattr(cpu, "TRIED_SINCE", (0, 0))


def test_only_what_is_missing_is_set():
    fresh = cpu.missing_variables({"XLA_FLAGS": "--xla_dump_to=x"})
    assert fresh == {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"
        ":glibc.malloc.mmap_threshold=68719476736"
        ":glibc.malloc.trim_threshold=68719476736",
        "XLA_FLAGS": "--xla_dump_to=x "
        "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true",
    }
    assert cpu.missing_variables(fresh) == {}
    own = {"GLIBC_TUNABLES": "", "XLA_FLAGS": "--xla_backend_extra_options=xla_none"}
    assert cpu.missing_variables(own) == {}


def test_jaxlibs_that_were_not_tried_get_no_option(monkeypatch):
    monkeypatch.setattr(cpu, "TRIED_SINCE", (1000, 0))
    assert cpu.missing_variables({}).keys() == {"GLIBC_TUNABLES"}
    option = f"--xla_backend_extra_options={cpu.MULTI_OUTPUT_FUSION}=true"
    monkeypatch.setenv("XLA_FLAGS", option)
    assert not cpu.fuses_outputs()


@pytest.mark.parametrize("fuses", [True, False])
def test_both_orders_of_an_update_are_optaxs(monkeypatch, fuses):
    options = cpu.missing_variables({})["XLA_FLAGS"] if fuses else ""
    monkeypatch.setenv("XLA_FLAGS", options)
    assert cpu.fuses_outputs() == fuses
    tx = adam(Schedule(10, 1e-3), 25)
    params = {"flow": {"kernel": normal((4, 3)), "bias": normal((3,), 1)}}
    state = TrainState.create(tx, params)
    expected, opt_state = params, tx.init(params)
    for seed in (2, 3, 4):
        gradients = jax.tree.map(lambda x, s=seed: normal(x.shape, s), params)
        state = jax.jit(lambda s, g: s.apply_gradients(tx, g))(state, gradients)
        updates, opt_state = tx.update(gradients, opt_state, expected)
        expected = jax.tree.map(lambda x, u: x + u, expected, updates)
    for found, wanted in zip(
        jax.tree.leaves((state.params, state.opt_state)),
        jax.tree.leaves((expected, opt_state)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-8)
