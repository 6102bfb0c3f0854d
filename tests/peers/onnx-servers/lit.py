"""LitServe with batches of what waits.

    lit.py MODEL PORT

A request is {"inputs": {NAME: the bytes of a row in base64}}; LitServe's own requests are JSON.
"""

import sys

import litserve
import numpy
from computation import MOST_ROWS, Computation


class Api(litserve.LitAPI):
    def setup(self, device):
        self.computation = Computation(sys.argv[1])

    def decode_request(self, request):
        return {name: self.computation.row(name, text) for name, text in request["inputs"].items()}

    def batch(self, inputs):
        return {name: numpy.concatenate([row[name] for row in inputs]) for name in inputs[0]}

    def predict(self, batch):
        return self.computation.run(batch)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"output": output.ravel().tolist()}


if __name__ == "__main__":
    # Without a delay, as the model server has none: a batch is what waits when the worker is free.
    server = litserve.LitServer(Api(max_batch_size=MOST_ROWS, batch_timeout=0), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning", access_log=False)
