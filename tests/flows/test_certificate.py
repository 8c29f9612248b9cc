"""The certificate measures real errors, and finds planted ones."""

import warnings

import jax
import numpy as np
import pytest

from iin_jax.flows import InterpretationFlow
from iin_jax.flows import certificate as module
from iin_jax.flows.certificate import certify_flow, compiled_error, relative_error
from tests.conftest import normal, perturbed


def flow_and_variables(dim=8):
    flow = InterpretationFlow(dim, 2, 16, 1)
    return flow, perturbed(flow.init(jax.random.key(0), normal((64, dim))), 0.1)


def test_a_sound_flow_passes_on_all_latents():
    flow, variables = flow_and_variables()
    result = certify_flow(flow, variables, normal((40, 8), 2))
    assert result["round_trip_max_abs"] < 1e-4
    assert result["log_det_max_abs"] < 1e-3
    assert result["latents"] == result["log_det_latents"] == 40
    assert result["log_det_of"] == "flow" and result["dtype"] == "float32"


@pytest.mark.thorough
def test_a_wrong_log_det_is_found():
    class Wrong(InterpretationFlow):
        def forward_and_log_det(self, x, context=None):
            y, log_det = super().forward_and_log_det(x, context)
            return y, log_det + 0.5

    _, variables = flow_and_variables()
    wrong = Wrong(8, 2, 16, 1)
    result = certify_flow(wrong, variables, normal((10, 8), 2))
    assert result["log_det_max_abs"] > 0.05


@pytest.mark.parametrize(
    ("limits", "count", "of"), [((4, 100), 32, "flow"), ((2, 4), 2, "blocks")]
)
def test_large_latents_are_certified_in_part(monkeypatch, limits, count, of):
    monkeypatch.setattr(module, "FULL_JACOBIAN_DIM", limits[0])
    monkeypatch.setattr(module, "SOME_JACOBIAN_DIM", limits[1])
    flow, variables = flow_and_variables()
    result = certify_flow(flow, variables, normal((40, 8), 2))
    assert (result["log_det_latents"], result["log_det_of"]) == (count, of)
    assert result["log_det_max_abs"] < 1e-3


def test_errors_are_relative_only_to_large_values():
    assert relative_error(np.array([0.5]), np.array([0.1])) == pytest.approx(0.4)
    assert relative_error(np.array([110.0]), np.array([100.0])) == pytest.approx(0.1)


class WrongCompiled(InterpretationFlow):
    """A T of which one compiled result is off, as by a wrong kernel."""

    wrong: str = "inverse"

    def forward_and_log_det(self, x, context=None):
        y, log_det = super().forward_and_log_det(x, context)
        return y * self.scale(x, "z_tilde"), log_det * self.scale(x, "log_det")

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x * self.scale(y, "inverse"), log_det

    def scale(self, x, result):
        compiled = isinstance(x, jax.core.Tracer)
        return 1.05 if compiled and self.wrong == result else 1.0


@pytest.mark.parametrize(
    "wrong", ["z_tilde", pytest.param("log_det", marks=pytest.mark.thorough)]
)
def test_a_wrong_compiled_kernel_is_found_and_said(wrong):
    _, variables = flow_and_variables()
    flow = WrongCompiled(8, 2, 16, 1, wrong=wrong)
    with pytest.warns(UserWarning, match="compiled results of T differ") as warned:
        result = certify_flow(flow, variables, 3 * normal((40, 8), 2))
    said = [str(each.message) for each in warned if each.category is UserWarning]
    assert len(said) == 1 and "\n" not in said[0]
    assert result["compiled_max_abs"] > 0.02


@pytest.mark.thorough
def test_a_wrong_compiled_inverse_breaks_the_round_trip():
    _, variables = flow_and_variables()
    flow = WrongCompiled(8, 2, 16, 1, wrong="inverse")
    result = certify_flow(flow, variables, 3 * normal((40, 8), 2))
    assert result["round_trip_max_abs"] > 0.02 > result["compiled_max_abs"]


def test_right_kernels_are_not_complained_of():
    flow, variables = flow_and_variables()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = certify_flow(flow, variables, 3 * normal((40, 8), 2))
    assert 0.0 <= result["compiled_max_abs"] < 1e-5


def test_compiled_results_are_compared_on_the_first_row_the_last_and_some_between():
    seen = []

    def double(x):
        seen.extend(np.asarray(x)[:, 0].tolist())
        return x * 2.0

    x = np.arange(100.0, dtype=np.float32)[:, None]
    wrong = 2.0 * x
    wrong[-1] *= 2.0
    assert compiled_error(2.0 * x, double, x, 5) == 0.0
    assert len(seen) == 5 and (seen[0], seen[-1]) == (0.0, 99.0)
    assert compiled_error(wrong, double, x, 5) == pytest.approx(1.0)
    assert np.isnan(compiled_error(np.full_like(x, np.nan), double, x, 5))
    assert compiled_error(2.0 * x[:2], double, x[:2], 5) == 0.0
