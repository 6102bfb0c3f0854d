"""What all of this folder compute by: one thread of onnxruntime, and rows as their bytes in base64."""

import base64

import numpy
import onnxruntime

MOST_ROWS = 32
TYPES = {"tensor(float)": numpy.float32, "tensor(int64)": numpy.int64}


class Computation:
    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # Dimensions behind the rows are fixed.
        self.inputs = {tensor.name: (TYPES[tensor.type], tensor.shape[1:]) for tensor in self.session.get_inputs()}

    def row(self, name, text):
        """One row of an input."""
        dtype, shape = self.inputs[name]
        return numpy.frombuffer(base64.b64decode(text), dtype).reshape(1, *shape)

    def run(self, batch):
        """The first output of arrays by their names, a row for each of theirs."""
        return self.session.run(None, batch)[0]
