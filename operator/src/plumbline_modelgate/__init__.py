"""The gate every model file passes before anything of ours runs it: plain ONNX, self-contained, standard operators.

Used where models enter (collect), are judged (evaluate) and are served. Depends on onnx and the contract only.
"""

from plumbline_modelgate.copies import copied_inputs
from plumbline_modelgate.dtypes import DTYPES
from plumbline_modelgate.errors import Bounds, ModelRefused
from plumbline_modelgate.gate import Signature, check, check_file

__all__ = ["DTYPES", "Bounds", "ModelRefused", "Signature", "check", "check_file", "copied_inputs"]
