"""Serves an ONNX file by the model server and compares its answers, tensor by tensor, with those of onnxruntime in Python."""

import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time
from typing import NamedTuple

import numpy
import onnxruntime
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("MODEL_SERVER", ROOT / "target/debug/model-server")
# Relative to the largest number of an output. Integers, truth values and texts are equal or wrong.
TOLERANCES = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}


class Refused(Exception):
    """The model server does not serve a file; its last line of the log says why."""


class Served(NamedTuple):
    client: InferenceServerClient
    load_ms: float
    """From the start of the program until it is ready."""
    process: subprocess.Popen

    def resident_bytes(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def serve(model: pathlib.Path, *flags: str):
    """The model server with one model, ready."""
    given = ["--listen=127.0.0.1:0", "--drain-delay=0", "--log-format=json", f"--model={model}", *flags]
    began = time.perf_counter()
    process = subprocess.Popen([PROGRAM, *given], stderr=subprocess.PIPE, text=True)
    try:
        address, event = None, {}
        for line in process.stderr:
            event = json.loads(line)
            if event["message"] == "listening":
                address = event["address"]
            if event["message"] == "model ready":
                break
        else:
            raise Refused(f"status {process.wait()}: {event.get('error', event)}")
        load_ms = (time.perf_counter() - began) * 1e3
        # Its log goes on: read, so that it never waits for a reader.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with InferenceServerClient(address, network_timeout=120, connection_timeout=120) as client:
            yield Served(client, load_ms, process)
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stderr.close()


def session(model: pathlib.Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


NUMPY = {
    "tensor(float16)": numpy.float16,
    "tensor(float)": numpy.float32,
    "tensor(double)": numpy.float64,
    "tensor(bool)": numpy.bool_,
    "tensor(string)": numpy.object_,
    **{f"tensor({sign}int{bits})": numpy.dtype(f"{sign}int{bits}").type for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def made_up(declared, shapes: dict, below: dict, values: dict) -> dict:
    """An array for each input that has a shape, the same in every run."""
    random = numpy.random.default_rng(33)
    arrays = {}
    for tensor in declared:
        if tensor.name not in shapes:
            continue
        dtype, shape = NUMPY[tensor.type], shapes[tensor.name]
        if tensor.name in values:
            array = numpy.full(shape, values[tensor.name], dtype)
        elif dtype == numpy.object_:
            array = numpy.array([f"text {number}" for number in range(int(numpy.prod(shape)))], numpy.object_).reshape(shape)
        elif dtype == numpy.bool_:
            array = random.integers(0, 2, shape).astype(dtype)
        elif numpy.issubdtype(dtype, numpy.integer):
            array = random.integers(0, min(below.get(tensor.name, 256), numpy.iinfo(dtype).max + 1), shape, dtype)
        else:
            array = random.uniform(-1, 1, shape).astype(dtype)
        arrays[tensor.name] = array
    return arrays


def asked(client: InferenceServerClient, arrays: dict, name: str = "default"):
    inputs = []
    for key, array in arrays.items():
        tensor = InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array, binary_data=True))
    return client.infer(name, inputs)


def difference(found: numpy.ndarray, expected: numpy.ndarray) -> tuple[float, bool]:
    """How far two tensors are apart at most, relative to the largest number that is expected; and whether that is too far."""
    assert found.shape == expected.shape, f"expected shape {expected.shape}, found {found.shape}"
    if expected.dtype == numpy.object_:
        text = [value.encode() if isinstance(value, str) else value for value in expected.ravel()]
        return 0.0, list(found.ravel()) != text
    assert found.dtype == expected.dtype, f"expected type {expected.dtype}, found {found.dtype}"
    if not numpy.issubdtype(expected.dtype, numpy.floating):
        return 0.0, not numpy.array_equal(found, expected)
    finite = numpy.isfinite(expected)
    if not numpy.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf"), True
    if not finite.any():
        return 0.0, False
    ours, theirs = found[finite].astype(numpy.float64), expected[finite].astype(numpy.float64)
    apart = float(numpy.abs(ours - theirs).max() / max(float(numpy.abs(theirs).max()), 1e-30))
    return apart, apart > TOLERANCES[expected.dtype.name]


class Row(NamedTuple):
    """One line of the table."""
    model: str
    loads: bool
    equal: bool
    difference: float | None
    load_ms: float | None
    rss_bytes: int | None
    error: str | None


def compare(name: str, model: pathlib.Path, shapes: dict, below: dict = {}, values: dict = {}, flags: tuple = ()) -> Row:
    """Asks the model server and onnxruntime the same."""
    reference = session(model)
    arrays = made_up(reference.get_inputs(), shapes, below, values)
    # Lists of maps, which scikit-learn's converter writes for probabilities, are not tensors.
    names = [tensor.name for tensor in reference.get_outputs() if tensor.type.startswith("tensor(")]
    expected = dict(zip(names, reference.run(names, arrays)))
    try:
        with serve(model, *flags) as served:
            try:
                answer = asked(served.client, arrays)
                given = [output["name"] for output in answer.get_response()["outputs"]]
                assert given == names, f"expected outputs {names}, found {given}"
                apart = [difference(answer.as_numpy(name), expected[name]) for name in names]
            except Exception as error:
                return Row(name, True, False, None, served.load_ms, served.resident_bytes(), str(error))
            worst, wrong = max(far for far, _ in apart), any(wrong for _, wrong in apart)
            return Row(name, True, not wrong, worst, served.load_ms, served.resident_bytes(), None)
    except Refused as error:
        return Row(name, False, False, None, None, None, str(error))
