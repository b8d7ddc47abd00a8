"""The weights of an ONNX file under the names that transformers gives them, 8-bit ones as float32.

A quantised weight stands for (integer - zero point) x scale, for the whole tensor or for each output channel. Exports
rename matrices (`onnx::MatMul_1525`), but not the nodes that multiply by them: `/encoder/layer.0/output/dense/MatMul`
has the weight of `encoder.layer.0.output.dense`, which the bias of that name confirms.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx.numpy_helper import to_array

QUANTISED, SCALE, ZERO = "_quantized", "_scale", "_zero_point"
MULTIPLIES = ("MatMul", "MatMulInteger", "Gemm")
ENDINGS = ("/MatMul_quant", "/MatMul", "/Gemm_MatMul_quant", "/Gemm")
"""Of the names of nodes that multiply by a layer's weight."""


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Every parameter of the model as float32, matrices as [outputs, inputs] as PyTorch has them.

    Raises:
        ValueError: a matrix has no layer, or not the shape that the layer's bias asks for.

    """
    graph = onnx.load(path).graph
    found = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    floats = {name: values for name, values in found.items() if values.dtype == np.float32 and not _is_part(name)}
    for name in [name for name in found if name.endswith(QUANTISED)]:
        whole = name.removesuffix(QUANTISED)
        floats[whole] = dequantised(found[name], found[whole + SCALE], found[whole + ZERO])
    for node in graph.node:
        if node.op_type in MULTIPLIES and node.input[1].removesuffix(QUANTISED) in floats:
            layer = _layer(node.name)
            weight = floats.pop(node.input[1].removesuffix(QUANTISED))
            bias = floats.get(f"{layer}.bias")
            if bias is None or weight.shape[1:] != bias.shape:
                raise ValueError(
                    f"{node.input[1]} [{weight.shape}] is not the weight of a layer {layer!r} with a bias."
                )
            floats[f"{layer}.weight"] = np.ascontiguousarray(weight.T)
    if nameless := sorted(name for name in floats if "::" in name):
        raise ValueError(f"{len(nameless)} weights have no layer (first: {nameless[0]}).")
    return floats


def dequantised(integers: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Float32 values of 8-bit `integers`; `scale` and `zero` are scalars, or one per column (output channel)."""
    return (integers.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)


def _is_part(name: str) -> bool:
    return name.endswith((QUANTISED, SCALE, ZERO))


def _layer(node: str) -> str:
    """The module's name in PyTorch; the whole name if it is of another kind."""
    ending = next((ending for ending in ENDINGS if node.endswith(ending)), "")
    return node.removesuffix(ending).strip("/").replace("/", ".")
