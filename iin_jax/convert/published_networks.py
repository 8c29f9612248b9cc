"""The published autoencoder and classifier, read into ours."""

import os
import re
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from iin_jax.convert.state_dict import (
    CONV,
    CONV_TRANSPOSE,
    LINEAR,
    Entry,
    State,
    act_norm_entries,
    check_entries,
    params_from,
    read_checkpoint,
    signs_from,
    wrong_reader,
)
from iin_jax.networks import (
    Autoencoder,
    AutoencoderNetwork,
    Classifier,
    ClassifierNetwork,
)
from iin_jax.networks.trained.autoencoder import layer_widths
from iin_jax.types import Array, Tree
from iin_jax.weights.state_dicts import without_wrappers


def load_published_network(
    path: str | os.PathLike,
) -> AutoencoderNetwork | ClassifierNetwork:
    """Reads an autoencoder or classifier that the published PyTorch code wrote.

    Which of the two, and all of its sizes, follow from names and shapes. The learned
    scale of the reconstruction error is read from the checkpoint's ``"loss"`` where it
    lies; a checkpoint without it gets 0. Images are (B, H, W, C), where the published
    code has (B, C, H, W).

    Args:
      path: a checkpoint ``{"model": state_dict, ...}`` or the bare state dictionary;
        names may begin with ``module.``.

    Raises:
      ImportError: torch is not installed.
      ValueError: no such file, a damaged one, a flow instead of a network; arrays that
        are missing, unexpected, misshapen, of another type or not finite (a network
        with batch or instance normalisation, too); an ActNorm that is singular, not
        initialised, or scales by more than e^20.
    """
    kind, state, content = read_checkpoint(path)
    if kind == "flow":
        raise wrong_reader(path, kind)
    if kind == "classifier":
        module = _classifier_of(state)
        entries = _classifier_entries(module)
        return ClassifierNetwork(module, _variables(path, entries, state))
    module = _autoencoder_of(state)
    variables = _variables(path, _autoencoder_entries(module), state)
    variables["params"]["log_scale"] = _learned_log_scale(path, content)
    return AutoencoderNetwork(module, variables)


def _variables(
    path: str | os.PathLike, entries: list[Entry], state: State
) -> dict[str, dict]:
    check_entries(path, entries, state)
    variables = {"params": dict(params_from(entries, state))}
    signs = signs_from(entries, state)
    if signs:
        variables["constants"] = traverse_util.unflatten_dict(signs)
    return variables


def _autoencoder_of(state: State) -> Autoencoder:
    sizes = _encoder_sizes(state)
    latent_dim = _axis(state, [("dense_decode.sub_layers.0.weight", 0)], 64)
    return Autoencoder(latent_dim, *sizes)


def _classifier_of(state: State) -> Classifier:
    classes = _axis(state, [("classifier.weight", 0), ("classifier.bias", 0)], 10)
    candidates = [("classifier.weight", 1), ("dense_encode.sub_layers.0.weight", 0)]
    return Classifier(classes, _axis(state, candidates, 64), *_encoder_sizes(state))


def _encoder_sizes(state: State) -> tuple[int, int, int, int]:
    """image_size, channels, num_down and base; whatever is off is named later."""
    layers = [re.match(r"feature_layers\.(\d+)\.", name) for name in state]
    num_down = max((int(match[1]) + 1 for match in layers if match), default=4)
    first = "feature_layers.0.sub_layers"
    channels = [(f"{first}.0.weight", 1), ("image_layer.sub_layers.0.weight", 1)]
    base = [(f"{first}.0.weight", 0), (f"{first}.1.loc", 1), (f"{first}.1.scale", 1)]
    size = [(f"dense_{way}code.sub_layers.0.weight", 2) for way in ("en", "de")]
    image_size = _axis(state, size, 2) * 2**num_down
    return image_size, _axis(state, channels, 3), num_down, _axis(state, base, 64)


def _axis(state: State, candidates: list[tuple[str, int]], default: int) -> int:
    """Length of an axis of the first of these arrays that has it."""
    for name, axis in candidates:
        shape = np.shape(state.get(name, 0))
        if len(shape) > axis:
            return shape[axis]
    return default


def _encoder_entries(
    module: Autoencoder | Classifier, out_dim: int, widths: list[int]
) -> list[Entry]:
    entries = []
    for layer, (fan_in, width) in enumerate(
        zip([module.channels, *widths], widths, strict=False)
    ):
        name = f"feature_layers.{layer}.sub_layers"
        path = ("encoder", f"Conv_{layer}", "kernel")
        entries.append(Entry(f"{name}.0.weight", (width, fan_in, 4, 4), path, CONV))
        norm = ("encoder", f"ActNorm_{layer}")
        entries += act_norm_entries(f"{name}.1", norm, width)
    size, path = module.image_size // 2**module.num_down, f"Conv_{module.num_down}"
    shape = (out_dim, widths[-1], size, size)
    name = "dense_encode.sub_layers.0"
    return [
        *entries,
        Entry(f"{name}.weight", shape, ("encoder", path, "kernel"), CONV),
        Entry(f"{name}.bias", (out_dim,), ("encoder", path, "bias")),
    ]


def _autoencoder_entries(module: Autoencoder) -> list[Entry]:
    widths = layer_widths(module.base, module.num_down)
    size, last = module.image_size // 2**module.num_down, widths[-1]
    name, dense = "dense_decode.sub_layers.0", ("decoder", "ConvTranspose_0")
    shape = (module.latent_dim, last, size, size)
    entries = [
        *_encoder_entries(module, 2 * module.latent_dim, widths),
        Entry(f"{name}.weight", shape, (*dense, "kernel"), CONV_TRANSPOSE),
        Entry(f"{name}.bias", (last,), (*dense, "bias")),
    ]
    ups = range(module.num_down - 1)
    for number, layer in enumerate(reversed(ups)):  # the last is applied first
        name = f"decoder_layers.{layer}.sub_layers"
        shape = (widths[layer + 1], widths[layer], 4, 4)
        path = ("decoder", f"ConvTranspose_{number + 1}", "kernel")
        entries.append(Entry(f"{name}.0.weight", shape, path, CONV_TRANSPOSE))
        norm = ("decoder", f"ActNorm_{number}")
        entries += act_norm_entries(f"{name}.1", norm, widths[layer])
    path = ("decoder", f"ConvTranspose_{module.num_down}", "kernel")
    shape = (module.base, module.channels, 4, 4)
    image_layer = "image_layer.sub_layers.0.weight"
    return [*entries, Entry(image_layer, shape, path, CONV_TRANSPOSE)]


def _classifier_entries(module: Classifier) -> list[Entry]:
    widths = layer_widths(module.base, module.num_down)
    shape = (module.num_classes, module.latent_dim)
    return [
        *_encoder_entries(module, module.latent_dim, widths),
        Entry("classifier.weight", shape, ("head", "kernel"), LINEAR),
        Entry("classifier.bias", shape[:1], ("head", "bias")),
    ]


def _learned_log_scale(path: str | os.PathLike, content: Mapping) -> Array:
    loss: Tree | None = content.get("loss")
    if not isinstance(loss, Mapping) or "logvar" not in without_wrappers(loss):
        return jnp.zeros(())
    value = np.asarray(without_wrappers(loss)["logvar"], np.float32)
    if value.size != 1 or not np.isfinite(value).all():
        raise ValueError(f'"logvar" of "loss" in {path} must be a number; got {value}')
    return jnp.asarray(value.reshape(()))
