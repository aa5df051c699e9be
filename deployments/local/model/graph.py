"""EfficientNet-Lite0 as an ONNX graph, built from its weights.

Layers, strides and padding are those of the reference implementation
(tensorflow/tpu, models/official/efficientnet/lite): no squeeze-and-excitation, ReLU6 throughout,
stem and head unscaled, TensorFlow's SAME padding, batch normalisation with epsilon 1e-3.
Batch normalisation is folded into the convolution before it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deployments.local.model.weights import Array

IMAGE_SIZE = 224
FEATURES = 1280
INPUT = "pixels"
OUTPUT = "features"

# The first block of each of the seven stages, and the stride it takes; all other blocks take 1.
STAGE_BLOCKS = (0, 1, 3, 5, 8, 11, 15)
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
BLOCKS = 16
STRIDES = dict(zip(STAGE_BLOCKS, STAGE_STRIDES, strict=True))

BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN = 127.0
PIXEL_SCALE = 128.0
ONNX_OPSET = 17
ONNX_IR_VERSION = 8


class GraphBuilder:
    """Adds one layer after the other to a graph, and keeps the size of the picture so far."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.size = IMAGE_SIZE

    def constant(self, name: str, values: Array) -> str:
        """Add a constant tensor and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator and return the name of its one output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(
        self, source: str, layer: str, norm: str, *, stride: int = 1, activate: bool = True
    ) -> str:
        """Add a convolution with its batch normalisation folded in, and ReLU6 if asked."""
        kernel, bias = fold_batch_norm(self.weights, layer, norm)
        outputs, _, side, _ = kernel.shape
        before, after = same_padding(self.size, side, stride)
        self.size = -(-self.size // stride)
        result = self.node(
            "Conv",
            [
                source,
                self.constant(f"{layer}.kernel", kernel),
                self.constant(f"{layer}.bias", bias),
            ],
            layer,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=outputs if layer.endswith("_depthwise_conv") else 1,
        )
        return self.node("Clip", [result, "zero", "six"], f"{layer}.relu6") if activate else result

    def block(self, source: str, number: int) -> str:
        """Add an inverted residual block: expand, depthwise, project, and the way around it."""
        name = f"_blocks.{number}"
        result = source
        if f"{name}._expand_conv.weight" in self.weights:
            result = self.convolution(result, f"{name}._expand_conv", f"{name}._bn0")
        stride = STRIDES.get(number, 1)
        result = self.convolution(result, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        result = self.convolution(result, f"{name}._project_conv", f"{name}._bn2", activate=False)
        return result if number in STRIDES else self.node("Add", [source, result], f"{name}.sum")


def fold_batch_norm(
    weights: Mapping[str, Array], layer: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of a convolution that does the batch normalisation's work too."""
    spread = np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + BATCH_NORM_EPSILON)
    scale = weights[f"{norm}.weight"] / spread
    kernel = weights[f"{layer}.weight"] * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


def same_padding(size: int, side: int, stride: int) -> tuple[int, int]:
    """Return the rows before and after a picture under TensorFlow's SAME padding.

    An odd row goes after the picture, where PyTorch's symmetric padding would shift it.
    """
    steps = -(-size // stride)
    total = max((steps - 1) * stride + side - size, 0)
    return total // 2, total - total // 2


def build_graph(weights: Mapping[str, Array]) -> ModelProto:
    """Return the network from pixels to pooled features.

    The input `pixels` is uint8[N, 224, 224, 3], RGB; the output `features` float32[N, 1280].
    """
    graph = GraphBuilder(weights)
    for name, value in (
        ("zero", 0.0),
        ("six", 6.0),
        ("mean", PIXEL_MEAN),
        ("scale", 1 / PIXEL_SCALE),
    ):
        graph.constant(name, np.array(value, np.float32))
    result = graph.node("Cast", [INPUT], "float", to=TensorProto.FLOAT)
    result = graph.node("Sub", [result, "mean"], "centred")
    result = graph.node("Mul", [result, "scale"], "scaled")
    result = graph.node("Transpose", [result], "planes", perm=[0, 3, 1, 2])
    result = graph.convolution(result, "_conv_stem", "_bn0", stride=2)
    for number in range(BLOCKS):
        result = graph.block(result, number)
    result = graph.convolution(result, "_conv_head", "_bn1")
    result = graph.node("GlobalAveragePool", [result], "pooled")
    graph.node("Flatten", [result], OUTPUT)
    pixels = helper.make_tensor_value_info(
        INPUT, TensorProto.UINT8, ["N", IMAGE_SIZE, IMAGE_SIZE, 3]
    )
    features = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", FEATURES])
    return helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", [pixels], [features], graph.constants),
        opset_imports=[helper.make_opsetid("", ONNX_OPSET)],
        ir_version=ONNX_IR_VERSION,
    )
