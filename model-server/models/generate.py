#!/usr/bin/env python3
"""Writes the models of this folder: linear.onnx, demo-mlp.onnx and narrow-mlp.onnx. Needs nothing but Python; the weights come from a generator
with a fixed seed, so the files are always the same.

    python3 generate.py [FOLDER]
"""
import math
import pathlib
import struct
import sys

FEATURES = 768
CLASSES = 2
TOKENS = 384
FLOAT, INT64 = 1, 7


class Random:
    """A 64-bit linear congruential generator: the same numbers on every machine and in every version of Python."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self, bound):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return to_float32((self.state >> 11) / 2**53 * 2 * bound - bound)


def to_float32(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


# --- protobuf, as far as ONNX needs it ---


def varint(number):
    number %= 2**64
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field, number):
    return varint(field << 3) + varint(number)


def message(field, *parts):
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def tensor(name, dims, kind, numbers):
    form = "<%df" if kind == FLOAT else "<%dq"
    return message(
        5,
        b"".join(integer(1, dim) for dim in dims),
        integer(2, kind),
        message(8, name),
        message(9, struct.pack(form % len(numbers), *numbers)),
    )


def value_info(field, name, *dims):
    shape = b"".join(message(1, message(2, dim) if isinstance(dim, str) else integer(1, dim)) for dim in dims)
    return message(field, message(1, name), message(2, message(1, integer(1, FLOAT), message(2, shape))))


def node(kind, inputs, output, *attributes):
    return message(
        1, b"".join(message(1, name) for name in inputs), message(2, output), message(3, output), message(4, kind), *attributes
    )


def attribute_ints(name, numbers):
    return message(5, message(1, name), b"".join(integer(8, number) for number in numbers), integer(20, 7))


def attribute_int(name, number):
    return message(5, message(1, name), integer(3, number), integer(20, 2))


def model(name, *graph):
    return (
        integer(1, 8)
        + message(2, "generate.py")
        + message(7, *graph, message(2, name), value_info(11, "features", "N", FEATURES), value_info(12, "prediction", "N", CLASSES))
        + message(8, message(1, ""), integer(2, 13))
    )


# --- the models ---


def linear_weights():
    random = Random(768)
    bound = 1 / math.sqrt(FEATURES)
    weight = [[random.uniform(bound) for _ in range(FEATURES)] for _ in range(CLASSES)]
    bias = [random.uniform(bound) for _ in range(CLASSES)]
    return weight, bias


def linear():
    """What the tutorial serves: torch.nn.Linear(768, 2), with weights of our own."""
    weight, bias = linear_weights()
    return model(
        "linear",
        node("Gemm", ["features", "weight", "bias"], "prediction", attribute_int("transB", 1)),
        tensor("weight", [CLASSES, FEATURES], FLOAT, [number for row in weight for number in row]),
        tensor("bias", [CLASSES], FLOAT, bias),
    )


def mlp(name, width, layers):
    """Heavy enough that a few dozen clients queue: a row becomes 384 tokens of so many numbers that pass through layers which
    share their weights. Real arithmetic, about 20 ms a row on one core."""
    random = Random(width)
    spread = [random.uniform(1.0) for _ in range(2 * width)]
    bound = math.sqrt(3 / width) * math.sqrt(2)
    mix = [random.uniform(bound) for _ in range(width * width)]
    head = [random.uniform(1 / math.sqrt(width)) for _ in range(width * CLASSES)]
    nodes = [
        node("Reshape", ["features", "token_shape"], "pairs"),
        node("MatMul", ["pairs", "spread"], "hidden0"),
    ]
    for layer in range(layers):
        nodes.append(node("MatMul", ["hidden%d" % layer, "mix"], "mixed%d" % layer))
        nodes.append(node("Relu", ["mixed%d" % layer], "hidden%d" % (layer + 1)))
    nodes.append(node("ReduceMean", ["hidden%d" % layers], "pooled", attribute_ints("axes", [1]), attribute_int("keepdims", 0)))
    nodes.append(node("MatMul", ["pooled", "head"], "prediction"))
    return model(
        name,
        *nodes,
        tensor("token_shape", [3], INT64, [-1, TOKENS, 2]),
        tensor("spread", [2, width], FLOAT, spread),
        tensor("mix", [width, width], FLOAT, mix),
        tensor("head", [width, CLASSES], FLOAT, head),
    )


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    (folder / "linear.onnx").write_bytes(linear())
    (folder / "demo-mlp.onnx").write_bytes(mlp("demo-mlp", width=TOKENS, layers=34))
    # As much arithmetic with matrices of 64 KB: a ConfigMap that kubectl applies holds it.
    (folder / "narrow-mlp.onnx").write_bytes(mlp("narrow-mlp", width=128, layers=235))


if __name__ == "__main__":
    main()
