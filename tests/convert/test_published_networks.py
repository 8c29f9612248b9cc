"""Published autoencoders and classifiers against stored numbers and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.convert import load_published_network
from iin_jax.networks import load_network, save_network
from tests.conftest import normal
from tests.convert.torch_reference import (
    CHECKPOINT,
    TorchAutoencoder,
    close,
    randomised,
    saved,
    torch,
    vectors,
)


def test_the_stored_autoencoder_computes_the_stored_numbers(shared):
    folder = shared / "reference_checkpoints" / "ae_tiny"
    data = dict(np.load(folder / "data.npz"))
    network = load_published_network(folder / CHECKPOINT)
    assert network.settings() == {
        "base": 64,
        "channels": 3,
        "image_size": 8,
        "latent_dim": 8,
        "num_down": 2,
    }
    mean, log_var = network.posterior(data["x"].transpose(0, 2, 3, 1))
    close(mean, vectors(data["mean"]), 1e-5)
    close(log_var, vectors(data["logvar"]), 1e-5)
    for latents, images in (("z", "dec_z"), ("z_sample", "rec")):
        decoded = network.decode(vectors(data[latents]))
        close(decoded, data[images].transpose(0, 2, 3, 1), 1e-5)
    assert network.variables["params"]["log_scale"] == 0.0


def test_the_stored_classifier_computes_the_stored_numbers(shared):
    folder = shared / "reference_checkpoints" / "clf_tiny"
    data = dict(np.load(folder / "data.npz"))
    network = load_published_network(folder / CHECKPOINT)
    assert network.module.num_classes == 10 and network.latent_shape == (8,)
    z = network.encode(data["x"].transpose(0, 2, 3, 1))
    close(z, vectors(data["z"]), 1e-5)
    close(network.decode(vectors(data["z"])), data["logits"], 1e-5)


@pytest.mark.parametrize("num_down", [1, 3])
def test_any_published_autoencoder_is_read(tmp_path, num_down):
    theirs = randomised(TorchAutoencoder(16, 1, num_down, 4, 5))
    loss = {"logvar": torch.tensor(-1.25), "discriminator.main.0.weight": torch.ones(2)}
    path = saved(tmp_path, theirs, loss=loss, optimizer={"state": {0: torch.ones(1)}})
    network = load_published_network(path)
    assert network.variables["params"]["log_scale"] == -1.25
    signs = jax.tree.leaves(network.variables["constants"])
    assert all((np.abs(sign) == 1).all() and (sign < 0).any() for sign in signs)
    save_network(tmp_path / "network", network)
    images, z = jnp.tanh(normal((3, 16, 16, 1))), normal((3, 5), 1)
    with torch.no_grad():
        encoded = theirs.encode(torch.tensor(np.asarray(images)).permute(0, 3, 1, 2))
        decoded = theirs.decode(torch.tensor(np.asarray(z))[:, :, None, None])
    for each in (network, load_network(tmp_path / "network")):
        mean, log_var = each.posterior(images)
        close(mean, vectors(encoded)[:, :5], 1e-4)
        close(log_var, vectors(encoded)[:, 5:].clamp(-30, 10), 1e-4)
        close(each.decode(z), decoded.permute(0, 2, 3, 1), 1e-4)
