"""A loop around onnxruntime and nothing else, the ceiling of every server: prints what it computes in a second as JSON.

    loop.py MODEL ROWS SECONDS
"""

import json
import resource
import sys
import time

import numpy
from computation import Computation


def main():
    model, rows, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    computation = Computation(model)
    random = numpy.random.default_rng(1)
    batch = {}
    for name, (dtype, shape) in computation.inputs.items():
        shape = (rows, *shape)
        batch[name] = random.uniform(-1, 1, shape).astype(dtype) if dtype == numpy.float32 else random.integers(0, 2, shape, dtype)
    warm = time.perf_counter() + 0.5
    while time.perf_counter() < warm:
        computation.run(batch)
    took = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        computation.run(batch)
        took.append(time.perf_counter() - start)
    elapsed = time.perf_counter() - began
    p50, p99 = numpy.percentile(took, [50, 99]) * 1e3
    # Of its peak, which is what it has: the loop frees nothing.
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = {"rows_per_second": rows * len(took) / elapsed, "p50_ms": p50, "p99_ms": p99, "rss_bytes": rss}
    print("REPORT", json.dumps(report))


main()
