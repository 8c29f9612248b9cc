"""What gets interpreted: frozen networks, cut into E and G at a latent."""

from iin_jax.networks.adapters import FunctionNetwork, from_functions, from_torch
from iin_jax.networks.autoencoder import Autoencoder, AutoencoderNetwork
from iin_jax.networks.base import Network
from iin_jax.networks.classifier import Classifier, ClassifierNetwork
from iin_jax.networks.discriminator import Discriminator
from iin_jax.networks.perceptual import Perceptual, lpips
from iin_jax.networks.pretrained import Preprocessing, PretrainedNetwork
from iin_jax.networks.registry import (
    ARCHITECTURES,
    NETWORKS,
    load,
    load_network,
    save_network,
)

__all__ = [
    "ARCHITECTURES",
    "NETWORKS",
    "Autoencoder",
    "AutoencoderNetwork",
    "Classifier",
    "ClassifierNetwork",
    "Discriminator",
    "FunctionNetwork",
    "Network",
    "Perceptual",
    "Preprocessing",
    "PretrainedNetwork",
    "from_functions",
    "from_torch",
    "load",
    "load_network",
    "lpips",
    "save_network",
]
