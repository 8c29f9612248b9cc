"""Real pretrained weights: what they predict, at every cut; names, files, bad input."""

import dataclasses
import functools
import json

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from iin_jax import networks
from iin_jax.files.json_files import read_description
from iin_jax.networks import load, load_network, save_network
from iin_jax.networks.pretrained import from_arrays
from iin_jax.networks.registry import ARCHITECTURES
from iin_jax.weights import load_tree, read_arrays
from tests.conftest import normal
from tests.weights.loopback import answer, serving, use_empty_cache

skimage_data = pytest.importorskip("skimage.data")

CAT = {285: 0.7113, 282: 0.1373, 281: 0.1352, 287: 0.0149, 293: 0.0008}
COFFEE = {967: 0.8396, 925: 0.1184, 968: 0.0158, 809: 0.0116, 504: 0.0103}
CAFFE_1_1 = (
    {285: 0.4828, 281: 0.3097, 282: 0.1979, 287: 0.0059, 293: 0.0011},
    {967: 0.9664, 925: 0.0302, 968: 0.0010, 809: 0.0008, 504: 0.0004},
)
CAFFE_1_0 = (
    {285: 0.6078, 282: 0.1894, 281: 0.1517, 287: 0.0352, 293: 0.0076},
    {967: 0.7225, 960: 0.0963, 968: 0.0535, 809: 0.0390, 925: 0.0243},
)
FILES = [  # network, file, pixels, top five classes on cat and coffee
    ("squeezenet1_1", "squeezenet1_1_torchvision_fp16.safetensors", 224, (CAT, COFFEE)),
    ("squeezenet1_1", "squeezenet_v1.1_caffe_fp16.safetensors", 227, CAFFE_1_1),
    ("squeezenet1_1", "squeezenet_v1.1_rebuilt_from_fp16.caffemodel", 227, CAFFE_1_1),
    (
        "squeezenet1_0",
        "squeezenet_v1.0_caffe_deepcompressed.safetensors",
        227,
        CAFFE_1_0,
    ),
]
CIFAR = [
    ("resnet20", "resnet20-12fca82f.th"),
    ("resnet56", "resnet56-4bfd9763.th"),
    ("densenet_bc_40_12", "densenet_bc_40_12_cifar10.pth.tar"),
]
CIFAR_CAT = 3


def cropped(picture, size):
    """Short side to 256 pixels (bilinear), centre crop, [-1, 1]."""
    image = Image.fromarray(picture)
    scale = 256 / min(image.size)
    image = image.resize(
        [int(side * scale) for side in image.size], Image.Resampling.BILINEAR
    )
    left, top = (round((side - size) / 2) for side in image.size)
    crop = image.crop((left, top, left + size, top + size))
    return np.asarray(crop, np.float32) / 127.5 - 1


def pictures(size):
    return np.stack(
        [cropped(skimage_data.cat(), size), cropped(skimage_data.coffee(), size)]
    )


@pytest.fixture(scope="module")
def squeezenet(shared):
    name, file, *_ = FILES[0]
    return load(name, shared / "weights" / file)


def check_top_five(logits, expected):
    for row, classes in zip(jax.nn.softmax(logits), expected, strict=True):
        best = np.argsort(-np.asarray(row))[:5]
        assert set(best.tolist()) == set(classes)
        for index, probability in classes.items():
            assert row[index] == pytest.approx(probability, abs=1e-3)


@pytest.mark.parametrize(("name", "file", "size", "expected"), FILES)
def test_squeezenets_see_a_cat_and_an_espresso(shared, name, file, size, expected):
    network = load(name, shared / "weights" / file)
    assert network.image_size == (size, size)
    check_top_five(network.decode(network.encode(pictures(size))), expected)


@pytest.mark.thorough
def test_features_have_the_stated_means(squeezenet):
    features = squeezenet.features_pure(squeezenet.variables, pictures(224))
    means = {
        "features.1": (0.30157, 0.42448),
        "features.4": (1.81285, 2.31335),
        "features.7": (7.03254, 8.06003),
        "features.12": (2.61993, 2.03826),
    }
    for layer, expected in means.items():
        np.testing.assert_allclose(features[layer].mean((1, 2, 3)), expected, rtol=2e-4)


def check_every_cut(network, images):
    """G alone, on z alone, gives f at every cut; E's image is blank by then."""
    whole = jax.jit(network.features_pure)(network.variables, images)
    layers = list(network.layers())
    expected = np.asarray(whole[layers[-1]])
    assert np.abs(expected[0] - expected[1]).max() > 1.0  # two unlike images
    blank = np.zeros_like(images)
    for layer in layers:
        cut = network.cut_at(layer)
        z = cut.encode_pure(network.variables, images)
        assert z.shape[1:] == cut.latent_shape
        cut.encode_pure(network.variables, blank)
        decoded = cut.decode_pure(network.variables, z)
        np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("name", "file", "size", "expected"), [FILES[0]])
@pytest.mark.thorough
def test_squeezenets_are_the_same_at_every_cut(shared, name, file, size, expected):
    network = load(name, shared / "weights" / file)
    check_every_cut(network, pictures(size))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "size", "expected"), FILES)
def test_top_five_at_every_cut(shared, name, file, size, expected):
    network, images = load(name, shared / "weights" / file), pictures(size)
    for layer in network.layers():
        cut = network.cut_at(layer)
        check_top_five(cut.decode(cut.encode(images)), expected)


@pytest.mark.parametrize(("name", "file"), CIFAR)
def test_cifar_networks_see_a_cat(shared, name, file):
    pytest.importorskip("torch")
    network = load(name, shared / "weights" / file)
    picture = skimage_data.cat()
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    square = Image.fromarray(picture[top : top + side, left : left + side])
    small = square.resize((32, 32), Image.Resampling.BOX)
    cat = np.asarray(small, np.float32)[None] / 127.5 - 1
    assert jax.nn.softmax(network.decode(network.encode(cat)))[0, CIFAR_CAT] > 0.999


@pytest.mark.parametrize(
    ("name", "file"),
    [pytest.param(*entry, marks=pytest.mark.slow) for entry in CIFAR],
)
def test_cifar_networks_are_the_same_at_every_cut(shared, name, file):
    pytest.importorskip("torch")
    network = load(name, shared / "weights" / file)
    images = np.tanh(normal((2, 32, 32, 3)))
    images[1] = np.abs(images[1])
    check_every_cut(network, images)


def test_other_sizes_are_resized(squeezenet):
    small = np.asarray(pictures(224)[:, ::4, ::4])
    large = jax.image.resize(small, (2, 224, 224, 3), "bilinear")
    np.testing.assert_allclose(
        squeezenet.encode(small), squeezenet.encode(np.clip(large, -1, 1)), atol=1e-3
    )


def test_layers_come_in_order_with_their_shapes(squeezenet):
    layers = squeezenet.layers()
    assert list(layers)[:3] == ["features.0", "features.1", "features.2"]
    assert list(layers)[-1] == "flatten"
    assert layers["features.12"] == (13, 13, 512) == squeezenet.latent_shape
    assert layers["features.12.squeeze"] == (13, 13, 64)


def test_a_folder_keeps_weights_preprocessing_and_cut(shared, tmp_path):
    caffe = load("squeezenet1_0", shared / "weights" / FILES[3][1], "features.8")
    save_network(tmp_path / "caffe", caffe)
    loaded = load_network(tmp_path / "caffe")
    assert loaded.preprocessing == caffe.preprocessing
    assert loaded.preprocessing.channel_order == "BGR"
    assert loaded.module == caffe.module
    assert loaded.latent_shape == caffe.latent_shape
    images = pictures(227)
    np.testing.assert_array_equal(loaded.encode(images), caffe.encode(images))
    again = load("squeezenet1_0", tmp_path / "caffe", "features.3", image_size=64)
    assert again.latent_shape == again.layers()["features.3"] == (14, 14, 128)
    with pytest.raises(ValueError, match="of kind squeezenet1_0, not squeezenet1_1"):
        load("squeezenet1_1", tmp_path / "caffe")


def test_weights_are_found_by_name(shared, tmp_path, monkeypatch, squeezenet):
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    folders = [tmp_path / "empty", shared / "weights"]
    monkeypatch.setenv("IIN_JAX_WEIGHTS", ":".join(map(str, folders)))
    found = load("squeezenet1_1", layer="features.5")
    for a, b in zip(
        jax.tree.leaves(found.variables),
        jax.tree.leaves(squeezenet.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    save_network(
        tmp_path / "empty" / "squeezenet1_0",
        load("squeezenet1_0", shared / "weights" / FILES[3][1]),
    )
    assert load("squeezenet1_0").preprocessing.size == 227


def test_missing_weights_are_one_line_with_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError) as error:
        load("resnet18")
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "f37072fd",
    ):
        assert part in message
    assert str(tmp_path) in message
    with pytest.raises(ValueError, match="no address of weights"):
        load("densenet_bc_100_12")


def test_two_files_of_one_name_are_ambiguous(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    for name in ("alexnet-mine.npz", "alexnet_other.npz"):
        np.savez(tmp_path / name, x=np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"alexnet-mine.npz, alexnet_other.npz"):
        load("alexnet")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet50", "resnet50-0676ba61.pth"),
        ("resnet50", "resnet50_dino.npz"),
        ("resnet20", "resnet20-12fca82f.th"),
        ("squeezenet1_1", "squeezenet1_1.caffemodel"),
        ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"),
        ("squeezenet1_1", "squeezenet1_1_torchvision_fp16.safetensors"),
        ("densenet_bc_40_12", "densenet_bc_40_12_cifar10.pth.tar"),
        ("vgg11_bn", "vgg11_bn-mine.ckpt"),
    ],
)
def test_files_that_are_called_like_a_network_are_read(
    tmp_path, monkeypatch, name, file
):
    use_empty_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    with (tmp_path / file).open("wb") as stream:  # what is in it fits none of them
        np.savez(stream, x=np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load(name)
    assert str(error.value).startswith(str(tmp_path / file))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet50", "resnet50.txt"),
        ("resnet50", "resnet50-notes.md"),
        ("resnet50", "resnet50x2.npz"),
        ("resnet50", "resnet50"),
        ("vgg11", "vgg11_bn-mine.npz"),
        ("resnet18", "my-resnet18.npz"),
    ],
)
def test_other_files_are_not_taken_for_a_network(tmp_path, monkeypatch, name, file):
    use_empty_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    (tmp_path / file).write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"{name}-.* is in none of {tmp_path}"):
        load(name)


def test_missing_weights_are_downloaded_if_asked_for(shared, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    cache = use_empty_cache(monkeypatch, tmp_path)
    name, file = CIFAR[0]
    with serving() as server:
        content = (shared / "weights" / file).read_bytes()
        server.script = [answer(200, content)]
        architecture = networks.ARCHITECTURES[name]
        (release,) = architecture.releases
        published = dataclasses.replace(release.file, url=server.file().url)
        release = dataclasses.replace(release, file=published)
        architecture = dataclasses.replace(architecture, releases=(release,))
        monkeypatch.setitem(networks.ARCHITECTURES, name, architecture)
        with pytest.raises(ValueError, match=f"^[^\n]*{published.url}[^\n]*$"):
            load(name)
        assert server.ranges == [] and not cache.exists()
        network = load(name, download=True)
        assert server.ranges == [None] and (cache / file).read_bytes() == content
        assert load(name).layers() == network.layers()
    direct = load(name, shared / "weights" / file)
    chex.assert_trees_all_equal(network.variables, direct.variables)


@functools.cache
def shapes_of(name):
    """Of the variables that an architecture has."""
    architecture = networks.ARCHITECTURES[name]
    size = architecture.releases[0].preprocessing.size
    full = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    return jax.eval_shape(architecture.module.init, jax.random.key(0), full)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("squeezenet1_0", 16),
        pytest.param("densenet121", 16, marks=pytest.mark.thorough),
        ("densenet_bc_40_12", 2),
        ("vgg11", 16),
        ("vgg16_bn", 31),
        ("alexnet", 1),
        ("alexnet", 16),
        ("inception_v3", 1),
        ("inception_v3", 40),
        ("inception_v3_fid", 74),
    ],
)
def test_images_that_vanish_are_too_small(name, size):
    architecture = networks.ARCHITECTURES[name]
    module, preprocessing = architecture.module, architecture.releases[0].preprocessing
    variables = shapes_of(name)
    message = f"^images of {size}x{size} are too small for {name}: nothing is left of"
    with pytest.raises(ValueError, match=f"{message} [^\n]*$"):
        networks.PretrainedNetwork(
            name, module, variables, architecture.layer, preprocessing, size
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "squeezenet11"}, "did you mean squeezenet1_1 or squeezenet1_0"),
        ({"name": "??"}, "known: squeezenet1_0, "),
        ({"layer": "features.13"}, "did you mean features.3 or"),
        ({"image_size": 16}, "16x16 are too small for squeezenet1_1"),
        (
            {"weights": "squeezenet_v1.0_caffe_deepcompressed.safetensors"},
            "misshapen: ",
        ),
        ({"weights": "style_transformer_separable.safetensors"}, "unused: "),
        ({"weights": "imagenet_synset_words.txt"}, "what is read"),
        ({"weights": "nothing.pth"}, "no weights at"),
    ],
)
def test_bad_input(shared, arguments, message):
    given = {"name": "squeezenet1_1", "weights": FILES[0][1], **arguments}
    given["weights"] = shared / "weights" / given["weights"]
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load(**given)
    assert message in str(error.value)


def test_bad_images(squeezenet):
    with pytest.raises(ValueError, match=r"must be square.*\(1, 20, 30, 3\)"):
        squeezenet.encode(np.zeros((1, 20, 30, 3), np.float32))
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        squeezenet.encode(np.full((1, 64, 64, 3), 200.0, np.float32))
    with pytest.raises(ValueError, match=r"latents have shape \(B, 13, 13, 512\)"):
        squeezenet.decode(np.zeros((1, 12, 13, 512), np.float32))


def test_every_architecture_has_a_default_layer_and_a_file():
    for name, architecture in networks.ARCHITECTURES.items():
        assert architecture.releases
        if name != "densenet_bc_100_12":
            file = architecture.file
            assert file.url.endswith(file.name)
            assert file.sha256[:8] in file.name or len(file.sha256) == 64


def test_a_saved_network_is_its_description_and_arrays(squeezenet, tmp_path):
    save_network(tmp_path, squeezenet)
    description = json.loads((tmp_path / "network.json").read_text())
    assert description["architecture"] == "squeezenet1_1"
    tree = load_tree(tmp_path / "network.safetensors")
    assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == 1_235_496


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda settings: settings["module"].update(colour=3), "argument 'colour'"),
        (lambda settings: settings["module"].update(num_classes=7), "classifier.1"),
        (lambda settings: settings.update(module=[]), "cannot be used: "),
        (lambda settings: settings.update(layer="features.99"), "did you mean"),
        (lambda settings: settings.pop("size"), "no entry 'size'"),
        (lambda settings: settings["preprocessing"].pop("mean"), "'mean'"),
    ],
)
def test_settings_of_something_else_are_one_line_with_the_file(
    squeezenet, tmp_path, change, message
):
    save_network(tmp_path, squeezenet)
    file = tmp_path / "network.json"
    description = read_description(file)  # and so without its checksum
    change(description["settings"])
    file.write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_network(tmp_path)
    assert str(error.value).startswith(str(file)) and message in str(error.value)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet20"])
def test_a_head_of_other_classes_and_a_trainers_prefix(shared, tmp_path, name):
    if name == "resnet20":
        pytest.importorskip("torch")
    files = {
        "squeezenet1_1": "squeezenet1_1_torchvision_fp16.safetensors",
        "resnet20": "resnet20-12fca82f.th",
    }
    arrays = read_arrays(shared / "weights" / files[name])
    heads = {"squeezenet1_1": "classifier.1.", "resnet20": "linear."}
    own = {
        f"model.{key}": array[:7] if key.startswith(heads[name]) else array
        for key, array in arrays.items()
    }
    network = from_arrays(name, ARCHITECTURES[name], own, image_size=32)
    images = np.zeros((1, 32, 32, 3), np.float32)
    logits = network.decode(network.encode(images))
    assert logits.shape == (1, 7)
    whole = from_arrays(name, ARCHITECTURES[name], arrays, image_size=32)
    expected = whole.decode(whole.encode(images))[:, :7]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    save_network(tmp_path, network)
    again = load_network(tmp_path)
    np.testing.assert_array_equal(again.decode(again.encode(images)), logits)
