"""KServe's Python model server around ONNX Runtime: `kserve_server.py MODEL.onnx PORT GRPC_PORT`.

Written as its documentation shows a custom model; gRPC cannot be left out, so it gets a port nobody calls.
"""

import sys

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

NAME = "gbdt"
DATATYPES = {"float32": "FP32", "int64": "INT64"}


class OnnxModel(Model):
    """One session, one thread, answers in the model's own order."""

    def __init__(self, path: str) -> None:
        super().__init__(NAME)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        rows = payload.inputs[0].as_numpy().astype("float32")
        outputs = []
        for name, values in zip(self.names, self.session.run(None, {payload.inputs[0].name: rows}), strict=True):
            output = InferOutput(name, list(values.shape), DATATYPES[values.dtype.name])
            output.set_data_from_numpy(values, binary_data=False)
            outputs.append(output)
        return InferResponse(response_id=payload.id or "1", model_name=NAME, infer_outputs=outputs)


if __name__ == "__main__":
    model, port, grpc_port = sys.argv[1:4]
    sys.argv[1:] = ["--http_port", port, "--grpc_port", grpc_port, "--enable_latency_logging", "false"]
    ModelServer(http_port=int(port), grpc_port=int(grpc_port), workers=1).start([OnnxModel(model)])
