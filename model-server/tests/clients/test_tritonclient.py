"""Triton's client, with its defaults and with everything it can be told that concerns one model over HTTP."""

import urllib.request

import numpy
import pytest
from conftest import ECHO, INPUT, MODEL, OUTPUT, ROWS, TYPES, assert_close
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype


@pytest.fixture
def client(server):
    with InferenceServerClient(server.address, concurrency=8) as client:
        yield client


@pytest.fixture
def admin(server):
    with InferenceServerClient(server.admin) as client:
        yield client


def tensor(rows, name=INPUT, binary=True):
    tensor = InferInput(name, rows.shape, np_to_triton_dtype(rows.dtype))
    return tensor.set_data_from_numpy(rows, binary_data=binary)


def output(binary, **options):
    return InferRequestedOutput(OUTPUT, binary_data=binary, **options)


def test_health(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("ghost") and not client.is_model_ready(MODEL, "2")


def test_metadata(client):
    server = client.get_server_metadata()
    assert server["name"] == "model-server" and "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata(MODEL)
    assert model == client.get_model_metadata(MODEL, "1")
    assert model["name"] == MODEL and model["versions"] == ["1"]
    assert model["inputs"] == [{"name": INPUT, "datatype": "FP32", "shape": [-1, 768]}]
    assert model["outputs"] == [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, 2]}]


def test_config(client):
    config = client.get_model_config(MODEL)
    assert config == client.get_model_config(MODEL, "1")
    assert config["max_batch_size"] == ROWS
    assert config["input"] == [{"name": INPUT, "data_type": "TYPE_FP32", "dims": [768]}]


def test_statistics(client, rows):
    def successes():
        [model] = client.get_inference_statistics(MODEL)["model_stats"]
        assert model == client.get_inference_statistics()["model_stats"][0]
        return model["inference_stats"]["success"]["count"], model["inference_count"]

    requests, inferences = successes()
    client.infer(MODEL, [tensor(rows(3))])
    assert successes() == (requests + 1, inferences + 3)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("count", [1, 2, 37, ROWS])
def test_infer(client, rows, linear, binary_in, binary_out, count):
    if not binary_in and count == ROWS:
        count = 100  # as many as a body of 2 MiB holds
    numbers = rows(count)
    result = client.infer(MODEL, [tensor(numbers, binary=binary_in)], outputs=[output(binary_out)])
    assert_close(result.as_numpy(OUTPUT), linear(numbers))


def test_infer_says_whose_answer_it_is(client, rows):
    answer = client.infer(MODEL, [tensor(rows(1))], model_version="1", request_id="request 7").get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (MODEL, "1", "request 7")
    # Without outputs the client asks for all of them in binary.
    assert answer["outputs"][0]["parameters"]["binary_data_size"] == 8


@pytest.mark.parametrize("name", ["f8", "i1", "i8", "u4"])
def test_no_datatype_is_changed_silently(client, name):
    numbers = numpy.ones((2, 768), dtype=name)
    with pytest.raises(InferenceServerException, match='expected datatype FP32 of input "features", found "'):
        client.infer(MODEL, [tensor(numbers)])


def edges(datatype):
    """Rows of two with the smallest and largest that a type has."""
    kind = triton_to_np_dtype(datatype)
    if datatype == "BYTES":
        return numpy.array([["", "\u00e9"], ["a\nb", "x" * 100]], dtype=object)
    if datatype == "BOOL":
        return numpy.array([[True, False], [False, False]])
    limits = numpy.finfo(kind) if datatype.startswith("FP") else numpy.iinfo(kind)
    return numpy.array([[limits.min, limits.max], [0, 3]], dtype=kind)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_type_comes_back_as_it_was(echo, binary_in, binary_out):
    sent = {name: edges(name) for name in TYPES}
    inputs, outputs = [], []
    for name, rows in sent.items():
        assert name == np_to_triton_dtype(rows.dtype)
        # JSON has no half precision.
        inputs.append(tensor(rows, name=f"in_{name}", binary=binary_in or name == "FP16"))
        outputs.append(InferRequestedOutput(f"out_{name}", binary_data=binary_out or name == "FP16"))
    with InferenceServerClient(echo.address) as client:
        model = client.get_model_metadata(ECHO)
        assert model["inputs"] == [{"name": f"in_{name}", "datatype": name, "shape": [-1, 2]} for name in TYPES]
        result = client.infer(ECHO, inputs, outputs=outputs)
        for name, rows in sent.items():
            found = result.as_numpy(f"out_{name}")
            if name == "BYTES":
                found = numpy.array([[as_text(text) for text in row] for row in found], dtype=object)
            assert found.dtype == rows.dtype and (found == rows).all(), name
        [one] = client.infer(ECHO, inputs, outputs=outputs[:1]).get_response()["outputs"]
        assert one["name"] == "out_FP32"
        with pytest.raises(InferenceServerException, match='expected input "in_INT8", found none'):
            client.infer(ECHO, [tensor for tensor in inputs if tensor.name() != "in_INT8"], outputs=outputs)
        with pytest.raises(InferenceServerException, match="JSON has no form for FP16"):
            client.infer(ECHO, inputs, outputs=[InferRequestedOutput("out_FP16", binary_data=False)])


def as_text(text):
    return text.decode() if isinstance(text, bytes) else text


@pytest.mark.parametrize("binary", [True, False])
def test_numbers_that_are_not_finite(echo, binary):
    inputs = {name: edges(name) for name in TYPES}
    for name in ("FP32", "FP64"):
        inputs[name][:] = [[numpy.nan, numpy.inf], [-numpy.inf, 1]]
    with InferenceServerClient(echo.address) as client:
        asked = [InferRequestedOutput(f"out_{name}", binary_data=binary) for name in ("FP32", "FP64")]
        result = client.infer(ECHO, [tensor(rows, name=f"in_{name}") for name, rows in inputs.items()], outputs=asked)
        for name in ("FP32", "FP64"):
            numpy.testing.assert_array_equal(result.as_numpy(f"out_{name}"), inputs[name])


@pytest.mark.parametrize("request_algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(client, rows, linear, request_algorithm, response_algorithm, binary):
    numbers = rows(ROWS if binary else 100)
    outputs = [output(binary)]
    result = client.infer(
        MODEL,
        [tensor(numbers, binary=binary)],
        outputs=[output(binary)],
        request_compression_algorithm=request_algorithm,
        response_compression_algorithm=response_algorithm,
    )
    assert_close(result.as_numpy(OUTPUT), linear(numbers))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("count, compressed", [(1, False), (ROWS, True)])
def test_only_large_answers_are_compressed(server, rows, linear, coding, count, compressed):
    numbers = rows(count)
    body, header_length = InferenceServerClient.generate_request_body([tensor(numbers)], outputs=[output(True)])
    headers = {"Inference-Header-Content-Length": str(header_length), "Accept-Encoding": coding}
    request = urllib.request.Request(f"http://{server.address}/v2/models/{MODEL}/infer", bytes(body), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Content-Encoding"] == (coding if compressed else None)
        result = InferenceServerClient.parse_response_body(
            answer.read(),
            header_length=int(answer.headers["Inference-Header-Content-Length"]),
            content_encoding=answer.headers["Content-Encoding"],
        )
    assert_close(result.as_numpy(OUTPUT), linear(numbers))


def test_many_at_a_time(client, rows, linear):
    numbers = [rows(1 + count % 5) for count in range(64)]
    pending = [client.async_infer(MODEL, [tensor(batch)]) for batch in numbers]
    for batch, request in zip(numbers, pending):
        assert_close(request.get_result().as_numpy(OUTPUT), linear(batch))


def test_timeout(client, rows, linear):
    numbers = rows(1)
    result = client.infer(MODEL, [tensor(numbers)], timeout=10_000_000, priority=1)
    assert_close(result.as_numpy(OUTPUT), linear(numbers))


def test_refusals(client, rows):
    def refused(status, text, inputs, model=MODEL, **options):
        with pytest.raises(InferenceServerException) as refusal:
            client.infer(model, inputs, **options)
        assert (refusal.value.status(), refusal.value.message()) == (str(status), text)

    one = rows(1)
    refused(404, 'expected model "linear", found "ghost"', [tensor(one)], model="ghost")
    refused(404, 'expected version "1" of model "linear", found "2"', [tensor(one)], model_version="2")
    refused(400, 'expected input "features", found "x"', [tensor(one, name="x")])
    refused(400, 'expected inputs "features", found 2', [tensor(one), tensor(one, name="x")])
    refused(400, 'expected shape [-1, 768] of input "features", found [1, 767]', [tensor(one[:, 1:])])
    refused(400, 'expected shape [-1, 768] of input "features", found [768]', [tensor(one[0])])
    refused(400, f"expected at most {ROWS} rows, found {ROWS + 1}", [tensor(rows(ROWS + 1))])
    words = numpy.array([["word"] * 768], dtype=object)
    refused(400, 'expected datatype FP32 of input "features", found "BYTES"', [tensor(words)])
    refused(400, 'expected datatype FP32 of input "features", found "FP16"', [tensor(one.astype("f2"))])
    unknown = [InferRequestedOutput("y")]
    refused(400, 'expected output "prediction", found "y"', [tensor(one)], outputs=unknown)
    classes = [output(True, class_count=2)]
    text = 'expected output "prediction" without classification, found some'
    refused(400, text, [tensor(one)], outputs=classes)
    with pytest.raises(InferenceServerException) as refusal:
        client.get_model_metadata("ghost")
    assert refusal.value.message() == 'expected model "linear", found "ghost"'


def test_a_body_that_is_too_large(client, rows):
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(MODEL, [tensor(rows(ROWS), binary=False)])
    assert refusal.value.status() == "413"


def test_repository(client, admin):
    assert admin.get_model_repository_index() == [{"name": MODEL, "version": "1", "state": "READY", "reason": ""}]
    for exchange in (admin.load_model, admin.unload_model):
        with pytest.raises(InferenceServerException) as refusal:
            exchange(MODEL)
        assert refusal.value.message().startswith("expected no model to be loaded or unloaded: ")
        with pytest.raises(InferenceServerException) as refusal:
            exchange("ghost")
        assert refusal.value.message() == 'expected model "linear", found "ghost"'
    assert admin.is_server_live() and admin.is_server_ready()
    # Clients that may infer may not ask this.
    with pytest.raises(InferenceServerException) as refusal:
        client.get_model_repository_index()
    assert refusal.value.status() == "404"
