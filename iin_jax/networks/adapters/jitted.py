"""A PyTorch module as a ``Network`` that is compiled, where it agrees with PyTorch."""

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.files.faults import first_line
from iin_jax.networks.adapters.bridge import BridgedModule
from iin_jax.networks.adapters.callback import TorchNetwork
from iin_jax.networks.adapters.cutting import MATES_TOLERANCE, TOLERANCE, Probe
from iin_jax.networks.adapters.module import FrozenModule
from iin_jax.networks.adapters.network import CutNetwork
from iin_jax.types import Array, Images, Tree

AGREEMENT = 1e-3  # largest |E - theirs| over |E|, and |G - theirs| over f's spread
# where f itself amplifies rounding: so many times what one rounding of the images does
ROUNDINGS = 32
SINGLE = 1e-6  # types that round more are not computed in float32


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BridgedNetwork(CutNetwork):
    """A PyTorch module in JAX, cut behind ``layer``; see ``from_torch``.

    E and G are pure functions of ``variables``, compiled, and can be differentiated.

    Attributes:
      module: f in PyTorch.
      bridge: the module's forward pass over JAX arrays.
      required: a cut where JAX and PyTorch disagree raises.
    """

    module: FrozenModule
    bridge: BridgedModule
    required: bool

    architecture = "torch"

    @property
    def variables(self) -> Tree:
        return self.bridge.variables

    def cut_at(self, layer: str) -> CutNetwork:
        """The same network, cut elsewhere and compared there.

        Raises:
          ValueError: no such layer, f cannot be cut there, or it has to be compiled and
            disagrees; the message says why.
        """
        network = TorchNetwork(**_fields(super().cut_at(layer)))
        return bridged(network, self.required, self.bridge)

    def outputs_pure(
        self, variables: Tree, x: Array, layers: Iterable[str]
    ) -> dict[str, Array]:
        return self.bridge.outputs(variables, x, layers)

    def resumed_pure(self, variables: Tree, z: Array) -> Array:
        # what comes before the layer is not needed, and compilers leave it out
        base = jnp.zeros((len(z), *self.image_shape), jnp.float32)
        return self.bridge.resumed(variables, self.layer, z, base)


def bridged(
    network: TorchNetwork, required: bool, bridge: BridgedModule | None = None
) -> CutNetwork:
    """The network in JAX, or with a warning as it is.

    Args:
      network: a module in PyTorch.
      required: raise instead of the warning.
      bridge: the module in JAX; None: one is made.

    Raises:
      ValueError: it is required in JAX and is not possible there; the message says why.
    """
    module = network.module
    reason = None
    if module.rounding > SINGLE:
        reason = f"the module computes in {module.type}"
    elif bridge is None:
        try:
            bridge = BridgedModule(module)
        except ValueError as error:
            reason = str(error)
    if bridge is not None:
        reason = disagreement(network.probe, bridge, network.layer, network.output)
        if reason is None:
            return BridgedNetwork(**_fields(network), bridge=bridge, required=required)
    if required:
        raise ValueError(f"{network.layer!r} cannot be compiled by JAX: {reason}")
    warnings.warn(
        f"{network.layer!r} runs in PyTorch, through a callback without gradients: "
        f"{reason}",
        stacklevel=3,
    )
    return network


def _fields(network: CutNetwork) -> dict[str, Any]:
    """What a network has as one of PyTorch's."""
    names = (field.name for field in dataclasses.fields(TorchNetwork))
    return {name: getattr(network, name) for name in names}


def disagreement(
    probe: Probe, bridge: BridgedModule, layer: str, output: str
) -> str | None:
    """Why E and G in JAX are not those in PyTorch, on four images; None if they are.

    Products are true float32 here: it is the translation that is compared, not the
    rounding of an accelerator.
    """
    images = np.concatenate([probe.images, probe.base]).astype(np.float32)
    expected_z = np.asarray(probe.module.outputs(images, [layer])[layer][0])
    expected = np.asarray(probe.module(images))

    @jax.jit
    def run(variables: Tree, x: Images) -> tuple[Array, Array]:
        z = bridge.outputs(variables, x, [layer])[layer]
        return z, bridge.resumed(variables, layer, z, jnp.zeros_like(x))

    try:
        with jax.default_matmul_precision("highest"):
            z, y = map(np.asarray, run(bridge.variables, images))
    except Exception as error:  # a module fails with whatever it runs into
        return f"torchax cannot translate the module: {first_line(error)}"
    if z.shape != expected_z.shape or y.shape != expected.shape:
        return f"shapes differ, z {z.shape} and {expected_z.shape} in PyTorch"
    difference = _relative(z, expected_z, np.abs(expected_z).max())
    if not difference <= AGREEMENT:
        return f"its latents are {difference:.1g} apart from PyTorch's"
    spread = probe.tolerance / TOLERANCE
    difference = _relative(y, expected, spread)
    rounded = np.asarray(probe.module(images * np.float32(1.0 + 1e-7)))
    allowed = min(ROUNDINGS * _relative(rounded, expected, spread), MATES_TOLERANCE)
    if not difference <= max(AGREEMENT, allowed):
        return f"its outputs are {difference:.1g} apart from PyTorch's"
    if output == "logits" and (y.argmax(-1) != expected.argmax(-1)).any():
        return "its predictions are not PyTorch's"
    return None


def _relative(actual: np.ndarray, expected: np.ndarray, scale: float) -> float:
    return float(np.abs(actual - expected).max() / max(scale, 1e-30))
