"""What a careful engineer makes of the tutorial's server in Python: Starlette without body models, orjson, the fastest event
loop and HTTP parser, and arrays instead of lists on the way to the model. It keeps the tutorial's metrics.

    uvicorn --app-dir tests/peers --loop uvloop --http httptools --no-access-log tuned:app
"""

import contextlib
import time

import numpy
import orjson
import prometheus_client as prometheus
import torch
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

import model

registry = prometheus.CollectorRegistry()
latency = prometheus.Histogram("inference_latency_seconds", "Time spent on model inference", registry=registry)
depth = prometheus.Gauge(
    "request_queue_depth", "Number of inference requests currently waiting or in-flight", registry=registry
)
loaded = {}


@contextlib.asynccontextmanager
async def lifespan(_app):
    loaded["model"] = model.load()
    yield


async def predict(request):
    depth.inc()
    try:
        features = orjson.loads(await request.body())["features"][: model.FEATURES]
        start = time.perf_counter()
        row = numpy.zeros((1, model.FEATURES), dtype=numpy.float32)
        row[0, : len(features)] = features
        with torch.inference_mode():
            output = loaded["model"](torch.from_numpy(row))
        elapsed = time.perf_counter() - start
        latency.observe(elapsed)
        answer = {"prediction": output[0].tolist(), "latency_ms": round(elapsed * 1000, 2)}
        return Response(orjson.dumps(answer), media_type="application/json")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        return Response(orjson.dumps({"detail": str(error)}), status_code=422, media_type="application/json")
    finally:
        depth.dec()


async def metrics(_request):
    return Response(prometheus.generate_latest(registry), media_type=prometheus.CONTENT_TYPE_LATEST)


async def health(_request):
    return Response(orjson.dumps({"status": "healthy"}), media_type="application/json")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/predict", predict, methods=["POST"]),
        Route("/metrics", metrics),
        Route("/health", health),
    ],
)
