"""Flows as JSON describes them: kind, fields, and whether a linear start is before."""

from collections.abc import Mapping
from typing import Any

from iin_jax.flows import FLOWS
from iin_jax.flows.base import Bijector
from iin_jax.flows.linear_start import LinearStart, StartedFlow
from iin_jax.flows.map_start import MapStart
from iin_jax.flows.partial import PartialFlow
from iin_jax.linen import module_fields

# kind -> class of starts that are a whole T; where none is named it is linear
STARTS: dict[str, type[Bijector]] = {"linear": LinearStart, "feature_map": MapStart}


def described_flow(flow: Bijector) -> dict:
    """``start`` (whether T has one: none, closed_form, or it alone), kind and fields.

    With ``dim``, N, where the flow acts on the first components alone.

    Raises:
      ValueError: a flow whose class is not in ``FLOWS``.
    """
    for kind, known in STARTS.items():
        if type(flow) is known:
            return {"start": "alone", "kind": kind, "flow": module_fields(flow)}
    started = isinstance(flow, StartedFlow)
    trained = flow.flow if started else flow
    carried = {}
    if isinstance(trained, PartialFlow):
        carried, trained = {"dim": trained.dim}, trained.flow
    kinds = [kind for kind, known in FLOWS.items() if type(trained) is known]
    if not kinds:
        name = type(trained).__name__
        raise ValueError(
            f"only flows of a named kind are saved: register yours with "
            f"iin_jax.flows.FLOWS[{name.lower()!r}] = {name}"
        )
    start = "closed_form" if started else "none"
    fields = module_fields(trained)
    return {"start": start, "kind": kinds[0], "flow": fields, **carried}


def flow_from(description: Mapping[str, Any]) -> Bijector:
    """The flow of a description by ``described_flow``; version 0.1 names no kind.

    Raises:
      ValueError: a start or a kind that is not known.
    """
    fields, start = description["flow"], description.get("start", "none")
    if start == "alone":
        kind = description.get("kind", "linear")
        if kind not in STARTS:
            raise ValueError(f"it is a start of kind {kind!r}; known: {list(STARTS)}")
        return STARTS[kind](**fields)
    if start not in ("none", "closed_form"):
        raise ValueError(f"it has a start {start!r}, which this version does not know")
    kind = description.get("kind", "interpretation")
    if kind not in FLOWS:
        raise ValueError(
            f"its flow is of kind {kind!r}; registered in iin_jax.flows.FLOWS are "
            f"{list(FLOWS)}"
        )
    flow = FLOWS[kind](**fields)
    if "dim" in description:
        flow = PartialFlow(flow, description["dim"])
    return flow if start == "none" else StartedFlow(flow)
