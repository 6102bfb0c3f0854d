"""A model server as a process: the built-in model, Linear(768, 2), with its metrics and its list of models on a second listener."""

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


@pytest.fixture(scope="session")
def server():
    program = os.environ.get("MODEL_SERVER", ROOT / "target/debug/model-server")
    flags = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0", "--log-format=json"]
    flags += [f"--model-name={MODEL}", f"--max-batch-size={ROWS}"]
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
