"""What gets interpreted: frozen networks, cut into E and G at a latent."""

from iin_jax.networks.adapters import FunctionNetwork, from_functions
from iin_jax.networks.autoencoder import Autoencoder, AutoencoderNetwork
from iin_jax.networks.base import Network
from iin_jax.networks.classifier import Classifier, ClassifierNetwork
from iin_jax.networks.registry import NETWORKS, load_network, save_network

__all__ = [
    "NETWORKS",
    "Autoencoder",
    "AutoencoderNetwork",
    "Classifier",
    "ClassifierNetwork",
    "FunctionNetwork",
    "Network",
    "from_functions",
    "load_network",
    "save_network",
]
