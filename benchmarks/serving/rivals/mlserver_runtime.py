"""A runtime for MLServer around ONNX Runtime, as its documentation shows a custom runtime."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """One session, one thread, answers in the model's own order."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        values = self.session.run(None, {payload.inputs[0].name: rows})
        outputs = [NumpyCodec.encode_output(name, found) for name, found in zip(self.names, values, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
