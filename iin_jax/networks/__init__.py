"""What gets interpreted: frozen networks, cut into E and G at a latent."""

from iin_jax.networks.adapters import (
    FunctionNetwork,
    GeneratorNetwork,
    from_equinox,
    from_functions,
    from_generator,
    from_linen,
    from_nnx,
    from_torch,
)
from iin_jax.networks.base import Network
from iin_jax.networks.perceptual import Perceptual, lpips
from iin_jax.networks.pretrained import Preprocessing, PretrainedNetwork
from iin_jax.networks.registry import (
    ARCHITECTURES,
    NETWORKS,
    load,
    load_network,
    save_network,
)
from iin_jax.networks.trained.autoencoder import Autoencoder, AutoencoderNetwork
from iin_jax.networks.trained.classifier import Classifier, ClassifierNetwork
from iin_jax.networks.trained.discriminator import Discriminator

__all__ = [
    "ARCHITECTURES",
    "NETWORKS",
    "Autoencoder",
    "AutoencoderNetwork",
    "Classifier",
    "ClassifierNetwork",
    "Discriminator",
    "FunctionNetwork",
    "GeneratorNetwork",
    "Network",
    "Perceptual",
    "Preprocessing",
    "PretrainedNetwork",
    "from_equinox",
    "from_functions",
    "from_generator",
    "from_linen",
    "from_nnx",
    "from_torch",
    "load",
    "load_network",
    "lpips",
    "save_network",
]
