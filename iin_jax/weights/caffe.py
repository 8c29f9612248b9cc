"""Caffe's binary weight files (``.caffemodel``), without Caffe.

A file is one protocol buffer, ``NetParameter`` of BVLC's ``caffe.proto``; the few
fields that hold weights are declared here, all others are skipped. Caffe's early files
keep layers in another field (``V1LayerParameter``) and shapes in four numbers.
"""

import functools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from iin_jax.files.hints import on_one_line

PARTS = ("weight", "bias")  # names of a layer's first blobs; further ones: blob2, ...
INNER_PRODUCT = ("InnerProduct", 14)  # a fully connected layer: its name, its V1 number

# message -> its fields: (name, number, type, repeated)
FIELDS = {
    "BlobShape": [("dim", 1, "int64", True)],
    "BlobProto": [
        ("num", 1, "int32", False),
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        ("data", 5, "float", True),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, "double", True),
    ],
    "LayerParameter": [
        ("name", 1, "bytes", False),
        ("type", 2, "bytes", False),
        ("blobs", 7, "BlobProto", True),
    ],
    "V1LayerParameter": [
        ("name", 4, "bytes", False),
        ("type", 5, "int32", False),
        ("blobs", 6, "BlobProto", True),
    ],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    ],
}


def read_caffemodel(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the weights of a ``.caffemodel`` file.

    Returns:
      ``"layer.weight"``, ``"layer.bias"``, then ``"layer.blob2"`` and so on -> float32,
      in the shapes of the file: convolutions (out, in, h, w), fully connected layers
      (out, in), biases (out,). For old files, which know four axes only, the leading
      ones that such a matrix or vector has there are dropped. Caffe's ``BatchNorm`` has
      no weight and bias: its three blobs are mean, variance and the factor that both
      must be divided by.

    Raises:
      ValueError: truncated, no Caffe weights, two layers of one name, or an array whose
        size disagrees with its shape.
    """
    net = _net_parameter()()
    try:
        net.ParseFromString(Path(path).read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is truncated or no .caffemodel file") from error
    arrays = {}
    for layer in (*net.layers, *net.layer):
        layer_name = layer.name.decode("utf-8", "backslashreplace")
        is_matrix = _type(layer) in INNER_PRODUCT
        for index, blob in enumerate(layer.blobs):
            part = PARTS[index] if index < len(PARTS) else f"blob{index}"
            name = f"{layer_name}.{part}"
            shown = on_one_line(name)
            if name in arrays:
                raise ValueError(f"{path} holds two arrays named {shown}")
            arrays[name] = _array(blob, index, is_matrix, f"{path}: {shown}")
    if not arrays:
        raise ValueError(f"{path} holds no Caffe layer with weights")
    return arrays


def _type(layer: Any) -> str | int:
    """The layer's type: a word, in old files a number."""
    if isinstance(layer.type, bytes):
        return layer.type.decode("utf-8", "backslashreplace")
    return layer.type


def _array(blob: Any, index: int, is_matrix: bool, where: str) -> np.ndarray:
    """A layer's blob as float32; ``where`` names it in errors."""
    shape = _shape(blob, index, is_matrix)
    data = blob.data or blob.double_data
    if not data or min(shape, default=1) < 0 or len(data) != math.prod(shape):
        raise ValueError(
            f"{where} has {len(data):,} values, but the shape {shape}; the file is "
            "damaged or no .caffemodel file"
        )
    return np.fromiter(data, np.float32, len(data)).reshape(shape)


def _shape(blob: Any, index: int, is_matrix: bool) -> tuple[int, ...]:
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    shape = (blob.num, blob.channels, blob.height, blob.width)
    if index > 0 and shape[:3] == (1, 1, 1):
        return shape[3:]
    return shape[2:] if is_matrix and shape[:2] == (1, 1) else shape


@functools.cache
def _net_parameter() -> Any:
    """The message class of a whole file, made from ``FIELDS``."""
    field_type = descriptor_pb2.FieldDescriptorProto
    scalar = {
        "int32": field_type.TYPE_INT32,
        "int64": field_type.TYPE_INT64,
        "float": field_type.TYPE_FLOAT,
        "double": field_type.TYPE_DOUBLE,
        "bytes": field_type.TYPE_BYTES,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="iin_jax/caffe.proto", package="iin_jax.caffe", syntax="proto2"
    )
    for message_name, fields in FIELDS.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            field.type = scalar.get(kind, field_type.TYPE_MESSAGE)
            if kind not in scalar:
                field.type_name = f".iin_jax.caffe.{kind}"
            elif repeated:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("iin_jax.caffe.NetParameter")
    return message_factory.GetMessageClass(descriptor)
