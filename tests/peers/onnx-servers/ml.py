"""A runtime of MLServer's, whose adaptive batching joins requests. Over HTTP MLServer takes no binary tensors: each input is a
byte string, the bytes of a row in base64.

    PYTHONPATH=tests/peers/onnx-servers mlserver start FOLDER     with settings.json and model-settings.json in FOLDER
"""

import numpy
from computation import Computation
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Onnx(MLModel):
    async def load(self):
        self.computation = Computation(self.settings.parameters.uri)
        return True

    async def predict(self, request):
        batch = {
            tensor.name: numpy.concatenate([self.computation.row(tensor.name, text) for text in tensor.data])
            for tensor in request.inputs
        }
        output = self.computation.run(batch)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", output)])
