"""Model servers as processes: one with the built-in model, Linear(768, 2), with its metrics and its list of models on a second
listener, and one with a model that gives back tensors of every type that ONNX and NumPy both have."""

import json
import os
import pathlib
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "model-server/models"))
import generate

MODEL, INPUT, OUTPUT = "linear", "features", "prediction"
ROWS = 512
# The model of all types, and the number of each in ONNX.
ECHO = "echo"
TYPES = {
    **{"FP32": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "BYTES": 8, "BOOL": 9},
    **{"FP16": 10, "FP64": 11, "UINT32": 12, "UINT64": 13},
}


@pytest.fixture(scope="session")
def server():
    yield from serving(f"--model-name={MODEL}", f"--max-batch-size={ROWS}")


@pytest.fixture(scope="session")
def echo(tmp_path_factory):
    path = tmp_path_factory.mktemp("echo") / "model.onnx"
    path.write_bytes(echo_model())
    yield from serving(f"--model-name={ECHO}", f"--model={path}")


def echo_model():
    """Takes rows of two of each type, and gives each back."""

    def tensor(field, name, kind):
        shape = b"".join(generate.message(1, dim) for dim in (generate.message(2, "rows"), generate.integer(1, 2)))
        kind = generate.message(1, generate.integer(1, kind), generate.message(2, shape))
        return generate.message(field, generate.message(1, name), generate.message(2, kind))

    graph = [generate.message(2, ECHO)]
    for name, kind in TYPES.items():
        graph.append(generate.node("Identity", [f"in_{name}"], f"out_{name}"))
        graph += [tensor(11, f"in_{name}", kind), tensor(12, f"out_{name}", kind)]
    opset = generate.message(8, generate.message(1, ""), generate.integer(2, 13))
    return generate.integer(1, 8) + generate.message(7, *graph) + opset


def serving(*arguments):
    program = os.environ.get("MODEL_SERVER", ROOT / "target/debug/model-server")
    flags = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0", "--log-format=json", *arguments]
    process = subprocess.Popen([program, *flags], stderr=subprocess.PIPE, text=True)
    addresses = {}
    for line in process.stderr:
        event = json.loads(line)
        addresses[event["message"]] = event.get("address")
        if event["message"] == "model ready":
            break
    else:
        pytest.fail(f"the model server ended with status {process.wait()}: {event}")
    # Its log goes on: read, so that it never waits for a reader.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    yield SimpleNamespace(address=addresses["listening"], admin=addresses["admin listening"])
    process.terminate()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def linear():
    """What the model computes, in double precision."""
    weight, bias = (numpy.array(numbers) for numbers in generate.linear_weights())
    return lambda rows: numpy.asarray(rows, dtype=numpy.float64) @ weight.T + bias


@pytest.fixture
def rows():
    """So many rows of the model's input."""
    random = numpy.random.default_rng(768)
    return lambda count: random.uniform(-1, 1, (count, generate.FEATURES)).astype(numpy.float32)


def assert_close(found, expected):
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
