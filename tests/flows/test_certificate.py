"""The certificate measures real errors, and finds planted ones."""

import jax
import numpy as np
import pytest

from iin_jax.flows import InterpretationFlow
from iin_jax.flows import certificate as module
from iin_jax.flows.certificate import certify_flow, relative_error
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
