"""The tutorial's server, as its readers build it: FastAPI with its body models, inference on the event loop, a gauge raised
and lowered around it, and a histogram of what the model alone took.

    uvicorn --app-dir tests/peers tutorial:app
"""

import asyncio
import contextlib
import time

import fastapi
import prometheus_client as prometheus
import pydantic
import torch

import model

registry = prometheus.CollectorRegistry()
latency = prometheus.Histogram(
    "inference_latency_seconds",
    "Time spent on model inference",
    buckets=[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
    registry=registry,
)
depth = prometheus.Gauge(
    "request_queue_depth", "Number of inference requests currently waiting or in-flight", registry=registry
)
gpu = prometheus.Gauge("gpu_utilization_percent", "Current GPU utilization percentage", registry=registry)
loaded = {}


def gpu_utilization():
    try:
        import pynvml

        pynvml.nvmlInit()
        rates = pynvml.nvmlDeviceGetUtilizationRates(pynvml.nvmlDeviceGetHandleByIndex(0))
        pynvml.nvmlShutdown()
        return float(rates.gpu)
    except Exception:
        return 0.0


async def poll_gpu():
    while True:
        gpu.set(gpu_utilization())
        await asyncio.sleep(5)


@contextlib.asynccontextmanager
async def lifespan(_app):
    loaded["model"] = model.load()
    polling = asyncio.create_task(poll_gpu())
    yield
    polling.cancel()
    loaded.clear()


app = fastapi.FastAPI(lifespan=lifespan)


class PredictRequest(pydantic.BaseModel):
    features: list[float]


class PredictResponse(pydantic.BaseModel):
    prediction: list[float]
    latency_ms: float


@app.post("/predict", response_model=PredictResponse)
async def predict(request: PredictRequest):
    depth.inc()
    try:
        start = time.perf_counter()
        features = torch.tensor([request.features[: model.FEATURES]], dtype=torch.float32)
        if features.shape[1] < model.FEATURES:
            padding = torch.zeros(1, model.FEATURES - features.shape[1])
            features = torch.cat([features, padding], dim=1)
        with torch.no_grad():
            output = loaded["model"](features)
        elapsed = time.perf_counter() - start
        latency.observe(elapsed)
        return PredictResponse(prediction=output[0].tolist(), latency_ms=round(elapsed * 1000, 2))
    finally:
        depth.dec()


@app.get("/metrics")
async def metrics():
    return fastapi.Response(prometheus.generate_latest(registry), media_type=prometheus.CONTENT_TYPE_LATEST)


@app.get("/health")
async def health():
    if "model" not in loaded:
        return fastapi.Response("model not loaded", status_code=503)
    return {"status": "healthy"}
