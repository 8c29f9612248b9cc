"""Published networks for 32x32 images against themselves, written in PyTorch."""

import numpy as np
import pytest

from iin_jax.networks import load
from tests.conftest import normal

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def conv(fan_in, fan_out, kernel, stride=1):
    return nn.Conv2d(fan_in, fan_out, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, fan_in, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(fan_in, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if x.shape != y.shape:  # option A
            quarter = y.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.layer1 = self.stage(16, 16, 1)
        self.layer2 = self.stage(16, 32, 2)
        self.layer3 = self.stage(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def stage(self, fan_in, width, stride):
        more = [Block(width, width, 1) for _ in range(2)]
        return nn.Sequential(Block(fan_in, width, stride), *more)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, fan_in):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(fan_in), conv(fan_in, 48, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(48), conv(48, 12, 3)

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(y)))], 1)


class DenseBlock(nn.Module):
    def __init__(self, fan_in):
        super().__init__()
        self.layer = nn.Sequential(*(Bottleneck(fan_in + 12 * i) for i in range(6)))

    def forward(self, x):
        return self.layer(x)


class Transition(nn.Module):
    def __init__(self, fan_in):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(fan_in), conv(fan_in, fan_in // 2, 1)

    def forward(self, x):
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)


class DenseNetBC40(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = conv(3, 24, 3)
        self.block1, self.trans1 = DenseBlock(24), Transition(96)
        self.block2, self.trans2 = DenseBlock(48), Transition(120)
        self.block3, self.bn1 = DenseBlock(60), nn.BatchNorm2d(132)
        self.fc = nn.Linear(132, 10)

    def forward(self, x):
        x = self.trans1(self.block1(self.conv1(x)))
        x = self.block3(self.trans2(self.block2(x)))
        return self.fc(F.avg_pool2d(F.relu(self.bn1(x)), 8).flatten(1))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "file", "model", "mean", "std"),
    [
        (
            *("resnet20", "resnet20-12fca82f.th", ResNet20),
            *((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ),
        (
            *("densenet_bc_40_12", "densenet_bc_40_12_cifar10.pth.tar", DenseNetBC40),
            *((125.3 / 255, 123.0 / 255, 113.9 / 255),),
            *((63.0 / 255, 62.1 / 255, 66.7 / 255),),
        ),
    ],
)
def test_logits_are_those_of_pytorch(shared, name, file, model, mean, std):
    path = shared / "weights" / file
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    state = {key.removeprefix("module."): array for key, array in state.items()}
    theirs = model().eval()
    theirs.load_state_dict(state, strict=True)
    images = np.tanh(normal((2, 32, 32, 3)))
    x = torch.tensor(((images + 1) / 2 - np.array(mean)) / np.array(std))
    with torch.no_grad():
        expected = theirs(x.permute(0, 3, 1, 2).float()).numpy()
    network = load(name, path)
    actual = network.decode(network.encode(images))
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()
