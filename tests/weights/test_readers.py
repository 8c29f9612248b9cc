"""Weight files of every format: right numbers, and one clear line for what is wrong."""

import io
import json
import pickle
import struct
import sys
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from iin_jax.weights.caffe import read_caffemodel
from iin_jax.weights.readers import read_arrays
from iin_jax.weights.torch_files import load_torch_file, save_torch_file

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv.weight": RNG.standard_normal((4, 3, 2, 2)).astype(np.float32),
    "conv.bias": RNG.standard_normal(4).astype(np.float32),
    "steps": np.array(7, np.int64),
}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert np.array_equal(found[name], array), name
        assert found[name].shape == array.shape, name


def refusal(path) -> str:
    """The one line that refuses a file, without the path that it must name."""
    with pytest.raises(ValueError) as caught:
        read_arrays(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message.replace(str(path), "PATH")


# --- protocol buffers written byte by byte, from the wire format's description


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def floats(values, kind: str = "f") -> bytes:
    return struct.pack(f"<{len(values)}{kind}", *values)


def old_blob(shape, values) -> bytes:
    axes = b"".join(field(1 + axis, size) for axis, size in enumerate(shape))
    return axes + field(5, floats(values)) + field(6, floats([0.5] * len(values)))


def old_layer(name: str, kind: int, *blobs: bytes) -> bytes:
    return field(
        2,
        field(2, b"data")  # bottom and top, which a reader skips
        + field(3, name.encode())
        + field(4, name.encode())
        + field(5, kind)
        + b"".join(field(6, blob) for blob in blobs),
    )


def new_layer(name: str, kind: str, *blobs: bytes) -> bytes:
    content = b"".join(field(7, blob) for blob in blobs)
    return field(100, field(1, name.encode()) + field(2, kind.encode()) + content)


def new_blob(shape, data: bytes) -> bytes:
    return field(7, field(1, b"".join(map(varint, shape)))) + data


@pytest.fixture
def write(tmp_path):
    """Writes bytes to a file whose suffix says nothing."""

    def written(content: bytes):
        path = tmp_path / "weights.bin"
        path.write_bytes(content)
        return path

    return written


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def torch_bytes(content, new_format: bool = True) -> bytes:
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=new_format)
    return stream.getvalue()


def tensors(arrays):
    torch = pytest.importorskip("torch")
    return OrderedDict(
        (name, torch.from_numpy(array.copy())) for name, array in arrays.items()
    )


# --- what is right


def test_safetensors_and_npz_under_any_suffix(write):
    assert_same(read_arrays(write(save(ARRAYS))), ARRAYS)
    assert_same(read_arrays(write(npz(**ARRAYS))), ARRAYS)


@pytest.mark.parametrize("new_format", [True, False])
def test_pytorch_files_of_both_formats(write, new_format):
    torch = pytest.importorskip("torch")
    assert_same(read_arrays(write(torch_bytes(tensors(ARRAYS), new_format))), ARRAYS)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = module.state_dict()
    assert state._metadata  # travels in the file beside the tensors
    found = read_arrays(write(torch_bytes(state, new_format)))
    assert_same(found, {name: value.numpy() for name, value in state.items()})
    assert found["1.num_batches_tracked"].dtype == np.int64
    parameter = torch.nn.Parameter(torch.arange(3.0))
    found = read_arrays(write(torch_bytes({"p": parameter}, new_format)))
    assert_same(found, {"p": np.arange(3, dtype=np.float32)})


def test_every_floating_type_becomes_float32(write):
    values = np.array([1.5, -2.0, 0.0078125, 65504.0])
    expected = {"w": values.astype(np.float32)}
    for kind in (np.float16, np.float32, np.float64, ">f4"):
        assert_same(read_arrays(write(npz(w=values.astype(kind)))), expected)
    for kind in (np.float16, np.float32, np.float64):
        assert_same(read_arrays(write(save({"w": values.astype(kind)}))), expected)
    torch = pytest.importorskip("torch")
    for kind in (torch.float16, torch.float64):
        content = torch_bytes({"w": torch.tensor(values, dtype=kind)})
        assert_same(read_arrays(write(content)), expected)


def test_bfloat16_against_torch(write):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save as save_tensors

    tensor = torch.randn(5, 7, generator=torch.manual_seed(0)).bfloat16()
    tensor[0, :3] = torch.tensor([float("inf"), -0.0, 1e-40])
    expected = {"w": tensor.float().numpy()}
    for content in (save_tensors({"w": tensor}), torch_bytes({"w": tensor})):
        found = read_arrays(write(content))
        assert_same(found, expected)
        assert np.array_equal(np.signbit(found["w"]), np.signbit(expected["w"]))


def test_integers_and_booleans_stay(write):
    arrays = {
        "i": np.array([[1, -2]], np.int16),
        "u": np.array([255], np.uint8),
        "b": np.array([True, False]),
    }
    assert_same(read_arrays(write(npz(**arrays))), arrays)
    assert_same(read_arrays(write(save(arrays))), arrays)
    assert_same(read_arrays(write(torch_bytes(tensors(arrays)))), arrays)
    swapped = np.array([1, 2], ">i4")
    assert_same(read_arrays(write(npz(i=swapped))), {"i": np.array([1, 2], np.int32)})


@pytest.mark.parametrize("name", ["state_dict", "model", "params", "model_state_dict"])
def test_a_checkpoint_is_opened(write, name):
    torch = pytest.importorskip("torch")
    inner = {f"module.{key}": value for key, value in tensors(ARRAYS).items()}
    content = {"epoch": 3, "best": torch.tensor(93.1), "arch": "small", name: inner}
    assert_same(read_arrays(write(torch_bytes(content))), ARRAYS)
    twice = {"model": {"state_dict": inner, "step": 1}, "optimizer": {"lr": 0.1}}
    assert_same(read_arrays(write(torch_bytes(twice))), ARRAYS)


def test_only_a_prefix_of_all_names_is_dropped(write):
    mixed = {"module.a": ARRAYS["conv.bias"], "b": ARRAYS["conv.bias"]}
    assert_same(read_arrays(write(npz(**mixed))), mixed)
    assert set(read_arrays(write(npz(**{"module.a": mixed["b"]})))) == {"a"}


def test_real_safetensors(shared):
    path = shared / "weights" / "squeezenet1_1_torchvision_fp16.safetensors"
    squeezenet = read_arrays(path)
    assert sum(a.size for a in squeezenet.values()) == 1_235_496
    assert {a.dtype for a in squeezenet.values()} == {np.dtype(np.float32)}


def test_real_files_of_pytorch(shared):
    pytest.importorskip("torch")
    folder = shared / "weights"
    resnet = read_arrays(folder / "resnet20-12fca82f.th")
    assert len(resnet) == 97 and sum(a.size for a in resnet.values()) == 271_098
    assert resnet["conv1.weight"].shape == (16, 3, 3, 3)
    densenet = read_arrays(folder / "densenet_bc_40_12_cifar10.pth.tar")
    assert len(densenet) == 197 and "block1.layer.0.conv1.weight" in densenet
    sums = {"alex": 105.2754, "vgg": 131.8555, "squeeze": 173.4387}
    for name, expected in sums.items():  # as the folder's README states them
        heads = read_arrays(folder / "lpips" / f"v0.1_{name}.pth")
        assert sum(float(a.sum()) for a in heads.values()) == pytest.approx(
            expected, abs=2e-4
        )


# --- Caffe


def test_a_real_caffemodel_bit_for_bit(shared):
    folder = shared / "weights"
    found = read_arrays(folder / "squeezenet_v1.1_rebuilt_from_fp16.caffemodel")
    half = load_file(folder / "squeezenet_v1.1_caffe_fp16.safetensors")
    assert len(found) == 52
    assert_same(found, {name: a.astype(np.float32) for name, a in half.items()})


def test_an_old_caffemodel_written_by_hand(write):
    weight, bias = RNG.standard_normal((2, 3, 1, 2)), np.array([0.25, -3.0])
    matrix = np.arange(6.0)
    content = (
        field(1, b"net")
        + field(3, b"data")
        + old_layer("relu", 18)
        + old_layer(
            "conv",
            4,
            old_blob((2, 3, 1, 2), weight.ravel()),
            old_blob((1, 1, 1, 2), bias),
        )
        + old_layer("fc", 14, old_blob((1, 1, 2, 3), matrix))
        + old_layer("one", 4, old_blob((1, 1, 2, 3), matrix))
    )
    expected = {
        "conv.weight": weight,
        "conv.bias": bias,
        "fc.weight": matrix.reshape(2, 3),
        "one.weight": matrix.reshape(1, 1, 2, 3),
    }
    expected = {name: array.astype(np.float32) for name, array in expected.items()}
    assert_same(read_arrays(write(content)), expected)


def test_a_new_caffemodel_written_by_hand(write):
    values = [1.0, 2.5, -4.0]
    unpacked = b"".join(b"\x2d" + floats([value]) for value in values)  # field 5
    split = field(5, floats(values[:1])) + field(5, floats(values[1:]))
    content = new_layer(
        "bn",
        "BatchNorm",
        new_blob((3,), unpacked),
        new_blob((3,), split),
        new_blob((1, 3), field(8, floats(values, "d"))),
        new_blob((), field(5, floats([9.0]))),
    )
    vector = np.array(values, np.float32)
    expected = {"bn.weight": vector, "bn.bias": vector, "bn.blob2": vector[None]}
    expected["bn.blob3"] = np.float32(9)
    found = read_arrays(write(content))
    assert_same(found, {name: np.asarray(a) for name, a in expected.items()})


def test_wrong_caffe_files(write, shared):
    blob = new_blob((2, 2), field(5, floats([1.0, 2.0, 3.0])))
    assert "c.weight has 3 values" in refusal(write(new_layer("c", "C", blob)))
    for shape, data in [((0,), []), ((2**63, 2), [1.0]), ((2**64 - 1,) * 2, [1.0])]:
        blob = new_blob(shape, field(5, floats(data)))
        assert "values, but the shape" in refusal(write(new_layer("c", "C", blob)))
    blob = new_blob((1,), field(5, floats([1.0])))
    twice = new_layer("c", "C", blob) * 2
    assert "two arrays named c.weight" in refusal(write(twice))
    bare = field(1, b"net") + new_layer("relu", "ReLU")
    assert "no Caffe layer with weights; what is read: safe" in refusal(write(bare))
    whole = bare + new_layer("c", "C", blob)
    assert_same(read_arrays(write(whole)), {"c.weight": np.ones(1, np.float32)})
    for size in range(len(bare) + 1, len(whole)):
        assert "truncated or no .caffemodel" in refusal(write(whole[:size]))
    original = shared / "weights" / "original"
    for name in (
        "SqueezeNet_fp16.onnx",  # a protocol buffer too
        "squeezenet_v1.1.ncnn.bin",
        "compressed_SqueezeNet.net",
    ):
        assert "what is read: safetensors" in refusal(original / name)
    with pytest.raises(ValueError, match=r"truncated or no \.caffemodel"):
        read_caffemodel(original / "style_transformer_separable.model.json")


# --- what is wrong


def test_no_file_a_folder_an_empty_file(tmp_path, write):
    assert "no weights at" in refusal(tmp_path / "missing.npz")
    assert "is a folder" in refusal(tmp_path)
    assert "is empty" in refusal(write(b""))


@pytest.mark.parametrize("kind", ["safetensors", "npz", "zip", "legacy"])
def test_a_truncated_file_at_any_length(write, kind):
    whole = {
        "safetensors": lambda: save(ARRAYS),
        "npz": lambda: npz(**ARRAYS),
        "zip": lambda: torch_bytes(tensors(ARRAYS)),
        "legacy": lambda: torch_bytes(tensors(ARRAYS), new_format=False),
    }[kind]()
    assert_same(read_arrays(write(whole)), ARRAYS)
    step = 1 if kind == "legacy" else 17
    for size in [*range(1, len(whole), step), len(whole) - 1]:
        assert "truncated" in refusal(write(whole[:size])), size


def test_foreign_files_are_told_what_is_read(write):
    for content in (
        b"These are notes, not weights.\n" * 30,
        b"\nnotes",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b'{"a": 1}',
        b"\x89HDF\r\n\x1a\n" + bytes(200),
        RNG.bytes(500),
    ):
        assert "what is read: safetensors, .npz, .caffemodel and" in refusal(
            write(content)
        )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("notes.txt", "not weights")
    assert "a zip archive, but" in refusal(write(stream.getvalue()))


def test_files_without_arrays(write):
    for content in (npz(), save({}), torch_bytes({"epoch": 3, "model": {}})):
        assert "holds no arrays" in refusal(write(content))
    assert "holds a list" in refusal(write(torch_bytes([1, 2])))
    assert "holds a ndarray" in refusal(write(torch_bytes(tensors(ARRAYS)["steps"])))


def test_several_sets_of_arrays_are_not_mixed(write):
    inner = tensors(ARRAYS)
    for content, named in [
        ({"generator": inner, "critic": inner}, "'critic', 'generator';"),
        ({"state_dict": inner, "queue": inner["conv.bias"]}, "'state_dict' and beside"),
    ]:
        message = refusal(write(torch_bytes(content)))
        assert "several sets of arrays" in message and named in message


def test_what_would_run_code_is_refused(write, tmp_path):
    torch = pytest.importorskip("torch")
    marker = tmp_path / "ran"

    class Runs:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    objects = np.array([Runs()], dtype=object)
    assert "Python objects" in refusal(write(npz(w=ARRAYS["steps"], o=objects)))
    for protocol in (2, 4):
        assert "a pickle that" in refusal(write(pickle.dumps(Runs(), protocol)))
    for new_format in (True, False):
        for content in (torch.nn.Linear(2, 2), {"w": torch.ones(2), "o": Runs()}):
            message = refusal(write(torch_bytes(content, new_format)))
            assert "pickled module or other objects" in message
    traced = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        program = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
        torch.jit.save(program, traced)
    assert "pickled module or other objects" in refusal(write(traced.getvalue()))
    assert not marker.exists()


def test_types_other_than_numbers_are_refused(write):
    torch = pytest.importorskip("torch")
    header = json.dumps(
        {"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}
    ).encode()
    eight_bits = struct.pack("<Q", len(header)) + header + b"12"
    for content, kind in [
        (npz(w=np.ones(2, np.complex64)), "complex64"),
        (npz(w=np.array(["a", "bc"])), "<U2"),
        (save({"w": np.ones(2, np.complex64)}), "C64"),
        (eight_bits, "F8_E4M3"),
        (torch_bytes({"w": torch.ones(2, dtype=torch.complex64)}), "complex64"),
    ]:
        assert f"the array w is of type {kind};" in refusal(write(content))
    sparse = torch_bytes({"w": torch.eye(3).to_sparse()})
    assert "no plain array" in refusal(write(sparse))


def test_a_damaged_npz(write):
    content = bytearray(npz(w=np.arange(100.0)))
    content[len(content) // 2] ^= 1
    assert "a damaged .npz file" in refusal(write(bytes(content)))


def test_pytorch_files_directly(write):
    pytest.importorskip("torch")
    for content in (b"hello, this is text\n" * 10, b"<html>", b"", b"\x80\x02"):
        with pytest.raises(ValueError, match="truncated or no PyTorch file"):
            load_torch_file(write(content))


def test_pytorch_files_survive_a_round_trip(tmp_path):
    torch = pytest.importorskip("torch")
    content = {"model": ARRAYS, "loss": {"step": 3}, "note": "small"}
    save_torch_file(tmp_path / "model.ckpt", content)
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["loss"] == {"step": 3} and loaded["note"] == "small"
    assert_same({k: v.numpy() for k, v in loaded["model"].items()}, ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]
    assert_same(read_arrays(tmp_path / "model.ckpt"), ARRAYS)


def test_without_torch_one_line_names_the_extra(write, monkeypatch):
    content = torch_bytes(tensors(ARRAYS))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"iin_jax\[torch\]") as caught:
        read_arrays(write(content))
    assert "\n" not in str(caught.value)
    assert_same(read_arrays(write(save(ARRAYS))), ARRAYS)
    assert "what is read" in refusal(write(b"text"))
