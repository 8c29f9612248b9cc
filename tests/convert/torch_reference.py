"""The published architectures, written out once more in PyTorch."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

CHECKPOINT = "model-120000.ckpt"  # the name of every stored one


class Norm(nn.Module):
    """The published ActNorm, for vectors (B, C) and feature maps (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def affine(self, x):
        spread = (slice(None),) * 2 + ((0, 0) if x.ndim == 2 else ())
        return self.loc[spread], self.scale[spread]

    def forward(self, x):
        if not self.initialized:
            self.loc.data[0, :, 0, 0] = -x.mean(0)
            self.scale.data[0, :, 0, 0] = 1 / (x.std(0) + 1e-6)
            self.initialized.fill_(1)
        loc, scale = self.affine(x)
        return scale * (x + loc)

    def log_det(self, _):
        return self.scale.abs().log().sum()

    def inverse(self, y):
        loc, scale = self.affine(y)
        return y / scale - loc


class Net(nn.Module):
    def __init__(self, half, hidden, depth, last):
        super().__init__()
        widths = [half] + [hidden] * (depth + 1)
        layers = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU()]
        self.main = nn.Sequential(*layers, nn.Linear(hidden, half), *last)

    def forward(self, x):
        return self.main(x)


class Couplings(nn.Module):
    """(x0, x1) -> (x1', x0'), each half transformed given the other."""

    def __init__(self, half, hidden, depth):
        super().__init__()
        shape = (half, hidden, depth)
        self.s = nn.ModuleList(Net(*shape, [nn.Tanh()]) for _ in range(2))
        self.t = nn.ModuleList(Net(*shape, []) for _ in range(2))

    def forward(self, x):
        x0, x1 = x.chunk(2, 1)
        x1 = x1 * self.s[0](x0).exp() + self.t[0](x0)
        x0 = x0 * self.s[1](x1).exp() + self.t[1](x1)
        return torch.cat([x1, x0], 1)

    def log_det(self, x):
        x0, x1 = x.chunk(2, 1)
        first = self.s[0](x0)
        return (first + self.s[1](x1 * first.exp() + self.t[0](x0))).sum(1)

    def inverse(self, y):
        x1, x0 = y.chunk(2, 1)
        x0 = (x0 - self.t[1](x1)) * (-self.s[1](x1)).exp()
        x1 = (x1 - self.t[0](x0)) * (-self.s[0](x0)).exp()
        return torch.cat([x0, x1], 1)


class Permutation(nn.Module):
    def __init__(self, dim):
        super().__init__()
        order = torch.randperm(dim)
        self.register_buffer("forward_shuffle_idx", order)
        self.register_buffer("backward_shuffle_idx", order.argsort())

    def forward(self, x):
        return x[:, self.forward_shuffle_idx]

    def log_det(self, _):
        return 0.0

    def inverse(self, y):
        return y[:, self.backward_shuffle_idx]


def tree_of(**children):
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


class TorchFlow(nn.Module):
    """The published flow, written out once more; latents (B, N)."""

    def __init__(self, dim, blocks, hidden, depth):
        super().__init__()
        stack = nn.ModuleList()
        for _ in range(blocks):
            coupling = Couplings(dim // 2, hidden, depth)
            parts = nn.ModuleList([Norm(dim), coupling, Permutation(dim)])
            stack.append(tree_of(flow=parts))
        self.realnvp = tree_of(flow=stack)

    def parts(self):
        return [part for block in self.realnvp.flow for part in block.flow]

    def forward(self, z):
        log_det = torch.zeros(len(z))
        for part in self.parts():
            before, z = z, part(z)
            log_det = log_det + part.log_det(before)
        return z, log_det

    def inverse(self, z_tilde):
        for part in reversed(self.parts()):
            z_tilde = part.inverse(z_tilde)
        return z_tilde


class TorchAutoencoder(nn.Module):
    """The published autoencoder at any width; ``decoder_layers`` run from the last."""

    def __init__(self, size, channels, num_down, base, latent_dim):
        super().__init__()
        widths = [base * min(2**level, 16) for level in range(num_down)]
        small = size // 2**num_down

        def layer(*parts):
            return tree_of(sub_layers=nn.ModuleList(parts))

        def down(fan_in, width):
            conv = nn.Conv2d(fan_in, width, 4, 2, 1, bias=False)
            return layer(conv, Norm(width), nn.LeakyReLU(0.2))

        def up(fan_in, width):
            conv = nn.ConvTranspose2d(fan_in, width, 4, 2, 1, bias=False)
            return layer(conv, Norm(width), nn.LeakyReLU(0.2))

        pairs = list(itertools.pairwise(widths))
        self.feature_layers = nn.ModuleList(
            down(*pair) for pair in [(channels, base), *pairs]
        )
        self.decoder_layers = nn.ModuleList(up(wide, narrow) for narrow, wide in pairs)
        self.dense_encode = layer(nn.Conv2d(widths[-1], 2 * latent_dim, small))
        self.dense_decode = layer(nn.ConvTranspose2d(latent_dim, widths[-1], small))
        last = nn.ConvTranspose2d(base, channels, 4, 2, 1, bias=False)
        self.image_layer = layer(last, nn.Tanh())

    def encode(self, images):
        return run([*self.feature_layers, self.dense_encode], images)

    def decode(self, z):
        return run([self.dense_decode, *reversed(self.decoder_layers)], z, self)


def run(layers, x, model=None):
    for layer in [*layers, model.image_layer] if model else layers:
        for part in layer.sub_layers:
            x = part(x)
    return x


def randomised(module, seed=0):
    """Random weights, one negative scale in every ActNorm, all initialised."""
    generator = torch.Generator().manual_seed(seed)
    for name, array in module.named_parameters():
        noise = torch.randn(array.shape, generator=generator)
        if name.endswith("scale"):
            noise = (0.3 * noise).exp()
            noise[:, 1] *= -1.0
        array.data = noise * (1.0 if name.endswith(("loc", "scale")) else 0.3)
    for name, buffer in module.named_buffers():
        if name.endswith("initialized"):
            buffer.fill_(1)
    return module


def torch_flow(seed=0, shape=(6, 2, 8, 1)):
    torch.manual_seed(seed)
    return randomised(TorchFlow(*shape), seed)


def saved(tmp_path, module, name="flow.ckpt", **beside):
    path = tmp_path / name
    torch.save({"model": module.state_dict(), **beside}, path)
    return path


def vectors(array):
    return array[:, :, 0, 0]


def close(actual, expected, tolerance):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
