"""The client that the Open Inference working group generates from its OpenAPI document: it reads answers into typed models."""

import pytest
from conftest import INPUT, MODEL, OUTPUT, assert_close
from open_inference.openapi import (
    BadRequestError,
    InferenceErrorResponse,
    InferenceRequest,
    MetadataTensor,
    NotFoundError,
    RequestInput,
    RequestOutput,
    TensorData,
)
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError


@pytest.fixture
def client(server):
    return OpenInferenceClient(base_url=f"http://{server.address}")


def request(rows, data, **parts):
    data = TensorData.parse_obj(data)
    tensor = RequestInput(name=INPUT, shape=list(rows.shape), datatype="FP32", data=data)
    return InferenceRequest(inputs=[tensor], **parts)


def test_health(client):
    # They raise unless all is well.
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness(MODEL)
    client.check_model_version_readiness(MODEL, "1")
    with pytest.raises(NotFoundError) as refusal:
        client.check_model_readiness("ghost")
    assert InferenceErrorResponse.parse_obj(refusal.value.body).error == 'expected model "linear", found "ghost"'
    with pytest.raises(NotFoundError):
        client.check_model_version_readiness(MODEL, "2")


def test_metadata(client):
    server = client.read_server_metadata()
    assert server.name == "model-server" and server.version and "statistics" in server.extensions
    model = client.read_model_metadata(MODEL)
    assert model == client.read_model_version_metadata(MODEL, "1")
    assert (model.name, model.versions, model.platform) == (MODEL, ["1"], "tract_onnx")
    assert model.inputs == [MetadataTensor(name=INPUT, datatype="FP32", shape=[-1, 768])]
    assert model.outputs == [MetadataTensor(name=OUTPUT, datatype="FP32", shape=[-1, 2])]
    with pytest.raises(ApiError) as refusal:
        client.read_model_metadata("ghost")
    assert refusal.value.status_code == 404
    assert InferenceErrorResponse.parse_obj(refusal.value.body).error


def flat(rows):
    return rows.ravel().tolist()


def nested(rows):
    return rows.tolist()


@pytest.mark.parametrize("layout", [flat, nested])
def test_infer(client, rows, linear, layout):
    numbers = rows(5)
    asked = request(numbers, layout(numbers), id="request 7", outputs=[RequestOutput(name=OUTPUT)])
    for answer in (
        client.model_infer(MODEL, request=asked),
        client.model_version_infer(MODEL, "1", request=asked),
    ):
        assert (answer.model_name, answer.model_version, answer.id) == (MODEL, "1", "request 7")
        [output] = answer.outputs
        assert (output.name, output.shape, output.datatype) == (OUTPUT, [5, 2], "FP32")
        assert_close(output.data.dict()["__root__"], linear(numbers).ravel())


def test_refusals(client, rows):
    numbers = rows(2)
    for asked, text in [
        (request(numbers[:, 1:], flat(numbers[:, 1:])), "expected shape [-1, 768] of input"),
        (request(numbers, flat(numbers)[1:]), "expected 1536 values of input"),
        (request(numbers, ["word"] * 1536), "expected a number of FP32 at 0 of input"),
        (InferenceRequest(inputs=[]), "expected input \"features\", found none"),
    ]:
        with pytest.raises(BadRequestError) as refusal:
            client.model_infer(MODEL, request=asked)
        assert InferenceErrorResponse.parse_obj(refusal.value.body).error.startswith(text)
