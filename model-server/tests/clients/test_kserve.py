"""KServe's client, in both of its protocols."""

import asyncio

import httpx
import pytest
from conftest import INPUT, MODEL, OUTPUT, assert_close
from kserve import InferInput, InferRequest, InferenceRESTClient
from kserve.inference_client import RESTConfig


@pytest.fixture(params=["v1", "v2"])
def protocol(request):
    return request.param


@pytest.fixture
def ask(server):
    """Has a client of a protocol do one thing."""

    def ask(protocol, method, *arguments, **options):
        async def one():
            async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
                return await getattr(client, method)(f"http://{server.address}", *arguments, **options)

        return asyncio.run(one())

    return ask


def request(rows, binary):
    tensor = InferInput(INPUT, list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(MODEL, [tensor], request_id="request 7")


def test_health(ask, protocol):
    assert ask(protocol, "is_server_live") is True
    assert ask(protocol, "is_model_ready", MODEL) is True
    assert ask("v2", "is_server_ready") is True


def test_a_model_that_is_not_there(ask):
    assert ask("v2", "is_model_ready", "ghost") is False
    with pytest.raises(httpx.HTTPStatusError, match='expected model "linear", found "ghost"'):
        ask("v1", "is_model_ready", "ghost")


@pytest.mark.parametrize("count", [1, 50])
def test_v1(ask, rows, linear, count):
    numbers = rows(count)
    answer = ask("v1", "infer", {"instances": numbers.tolist()}, model_name=MODEL)
    assert_close(answer["predictions"], linear(numbers))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 50])
def test_v2(ask, rows, linear, binary, count):
    numbers = rows(count)
    answer = ask("v2", "infer", request(numbers, binary), model_name=MODEL)
    # The client does not keep the version.
    assert (answer.model_name, answer.id) == (MODEL, "request 7")
    [output] = answer.outputs
    assert (output.name, output.shape, output.datatype) == (OUTPUT, [count, 2], "FP32")
    assert_close(output.as_numpy(), linear(numbers))


@pytest.mark.parametrize("binary", [True, False])
def test_v2_with_a_binary_answer(ask, rows, linear, binary):
    numbers = rows(3)
    asked = request(numbers, binary)
    asked.parameters = {"binary_data_output": True}
    headers = {}
    answer = ask("v2", "infer", asked, model_name=MODEL, response_headers=headers)
    assert headers["content-type"] == "application/octet-stream"
    assert_close(answer.outputs[0].as_numpy(), linear(numbers))


def test_refusals(ask, rows):
    with pytest.raises(httpx.HTTPStatusError, match="expected 768 numbers in instance 0, found 1, '400 "):
        ask("v1", "infer", {"instances": [[1.0]]}, model_name=MODEL)
    for binary in (True, False):
        with pytest.raises(httpx.HTTPStatusError, match=r"expected shape \[-1, 768\] .*, '400 "):
            ask("v2", "infer", request(rows(1)[:, 1:], binary), model_name=MODEL)
    with pytest.raises(httpx.HTTPStatusError, match="'404 "):
        ask("v2", "infer", request(rows(1), True), model_name="ghost")
    with pytest.raises(httpx.HTTPStatusError, match="expected MODEL:predict, .*, '404 "):
        ask("v1", "explain", MODEL, {"instances": [[1.0]]})
