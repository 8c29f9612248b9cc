"""The discriminator: PyTorch's PatchGAN, its initial weights, its norms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.networks import Discriminator
from tests.conftest import normal, perturbed


def start(module, images):
    """Initial variables; the key's draws compile fast."""
    return jax.jit(module.init)(jax.random.key(0, impl="rbg"), images)


def torch_patchgan(channels, base, num_layers, norm):
    """Layers with pix2pix's arguments; convolutions in ``convs``, in order."""
    import torch

    layers, convs, last = [], [], channels
    for level in range(num_layers + 1):
        width = base * min(2**level, 8)
        normed = norm == "batch" and level > 0
        stride = 2 if level < num_layers else 1
        convs.append(torch.nn.Conv2d(last, width, 4, stride, 1, bias=not normed))
        layers += [convs[-1]] + [torch.nn.BatchNorm2d(width)] * normed
        layers.append(torch.nn.LeakyReLU(0.2))
        last = width
    convs.append(torch.nn.Conv2d(last, 1, 4, 1, 1))
    return torch.nn.Sequential(*layers, convs[-1]), convs


def fill(model, convs, variables):
    """Gives a PyTorch model the Linen module's arrays."""
    import torch

    params, stats = variables["params"], variables["batch_stats"]

    def tensor(array):
        return torch.tensor(np.asarray(array))

    norms = [m for m in model if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for number, conv in enumerate(convs):
            own = params[f"Conv_{number}"]
            conv.weight.copy_(tensor(own["kernel"]).permute(3, 2, 0, 1))
            if conv.bias is not None:
                conv.bias.copy_(tensor(own["bias"]))
        for number, layer in enumerate(norms):
            layer.weight.copy_(tensor(params[f"BatchNorm_{number}"]["scale"]))
            layer.bias.copy_(tensor(params[f"BatchNorm_{number}"]["bias"]))
        if not norms:
            for number, conv in enumerate(convs):
                torch.nn.utils.spectral_norm(conv)
                u = stats[f"SpectralNorm_{number}"][f"Conv_{number}/kernel/u"]
                conv.weight_u.copy_(tensor(u)[0])
    return norms


@pytest.mark.parametrize(
    ("norm", "channels", "num_layers"),
    [("batch", 3, 3), ("spectral", 1, 2)],
)
def test_pytorchs_patchgan_twice_in_training(norm, channels, num_layers):
    torch = pytest.importorskip("torch")
    module = Discriminator(4, num_layers, norm)
    images = jnp.tanh(normal((3, 32, 32, channels)))
    variables = perturbed(start(module, images), 0.1)
    model, convs = torch_patchgan(channels, 4, num_layers, norm)
    norms = fill(model, convs, variables)

    @jax.jit
    def judge(stats, images):
        def total(images):
            logits, new = module.apply(
                {"params": variables["params"], "batch_stats": stats},
                images,
                mutable=["batch_stats"],
            )
            return jnp.square(logits).sum(), (logits, new["batch_stats"])

        return jax.grad(total, has_aux=True)(images)

    stats = variables["batch_stats"]
    for call in range(2):  # the second sees what the first left in the statistics
        images = jnp.tanh(normal(images.shape, call))
        gradient, (logits, stats) = judge(stats, images)
        x = torch.tensor(np.moveaxis(np.asarray(images), -1, 1), requires_grad=True)
        y = model(x)
        y.square().sum().backward()
        expected = np.moveaxis(y.detach().numpy(), 1, -1)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        slopes = np.moveaxis(x.grad.numpy(), 1, -1)
        np.testing.assert_allclose(
            gradient, slopes, atol=1e-4 * float(np.abs(slopes).max())
        )
    for number, layer in enumerate(norms):
        mean = stats[f"BatchNorm_{number}"]["mean"]
        np.testing.assert_allclose(mean, layer.running_mean, rtol=1e-4, atol=1e-5)
    assert logits.shape[1:] == ((2, 2, 1) if num_layers == 3 else (6, 6, 1))


def test_published_sizes_and_initial_weights():
    shapes = jax.eval_shape(
        Discriminator().init, jax.random.key(0), jnp.zeros((1, 64, 64, 3))
    )
    widths = [shapes["params"][f"Conv_{i}"]["kernel"].shape for i in range(5)]
    assert widths == [
        (4, 4, 3, 64),
        (4, 4, 64, 128),
        (4, 4, 128, 256),
        (4, 4, 256, 512),
        (4, 4, 512, 1),
    ]
    biased = ["bias" in shapes["params"][f"Conv_{i}"] for i in range(5)]
    assert biased == [True, False, False, False, True]
    params = start(Discriminator(64, 2), jnp.zeros((1, 16, 16, 3)))["params"]
    kernel = np.asarray(params["Conv_2"]["kernel"])
    assert kernel.mean() == pytest.approx(0.0, abs=1e-4)
    assert kernel.std() == pytest.approx(0.02, rel=0.01)
    scale = np.asarray(params["BatchNorm_1"]["scale"])
    assert scale.mean() == pytest.approx(1.0, abs=0.006)
    assert scale.std() == pytest.approx(0.02, rel=0.2)
    assert not np.asarray(params["BatchNorm_1"]["bias"]).any()


def test_spectral_norm_bounds_every_layer_of_weights_that_move():
    module, images = Discriminator(8, 1, "spectral"), normal((1, 8, 8, 3))
    variables = start(module, images)
    judge = jax.jit(lambda v: module.apply(v, images, mutable=["batch_stats"])[1])
    for step in range(40):
        moved = perturbed({"params": variables["params"]}, 2e-4, seed=step)
        variables = {**moved, **judge({**variables, **moved})}
    for number in range(3):
        kernel = np.asarray(variables["params"][f"Conv_{number}"]["kernel"])
        stats = variables["batch_stats"][f"SpectralNorm_{number}"]
        normed = kernel / stats[f"Conv_{number}/kernel/sigma"]
        flat = normed.reshape(-1, normed.shape[-1])
        assert np.linalg.svd(flat, compute_uv=False)[0] == pytest.approx(1.0, abs=0.02)


def test_running_statistics_are_used_outside_of_training():
    module, images = Discriminator(4, 1), normal((4, 8, 8, 3))
    variables = perturbed(start(module, images))
    judge = jax.jit(functools.partial(module.apply, train=False))
    whole, single = judge(variables, images), judge(variables, images[:1])
    np.testing.assert_allclose(whole[:1], single, rtol=1e-5, atol=1e-6)
    train = jax.jit(functools.partial(module.apply, mutable=["batch_stats"]))
    trained, _ = train(variables, images)
    assert np.abs(np.asarray(trained - whole)).max() > 1e-2


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Discriminator(), (1, 23, 32, 3), r"at least 24 pixels; got \(1, 23, 32, 3\)"),
        (Discriminator(4, 1), (8, 8, 3), "takes images"),
        (Discriminator(norm="layer"), (1, 32, 32, 3), r"\['batch', 'spectral'\]"),
    ],
)
def test_impossible_settings_are_refused(module, shape, message):
    with pytest.raises(ValueError, match=message):
        module.init(jax.random.key(0), jnp.zeros(shape))
