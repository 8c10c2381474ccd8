"""A network as an ONNX file."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.networks import CLASSES, MEAN, STD, Network

OPSET, IR = 17, 8


def write(network: Network, path: pathlib.Path, *, batch: int | None, pixels: bool = False) -> None:
    """Writes `network` for batches of `batch` images, or of any size. With `pixels`, its input `image` is bytes in 0..255 as a
    float; else `image` is normalised already. Its output is `logits`, `[batch, classes]`."""
    nodes, constants = [], [numpy_helper.from_array(values, name) for name, values in network.tensors.items()]
    names = {-1: "image"}
    if pixels:
        constants.append(numpy_helper.from_array((1 / (255 * STD)).reshape(1, 3, 1, 1).astype(np.float32), "scale"))
        constants.append(numpy_helper.from_array((-MEAN / STD).reshape(1, 3, 1, 1).astype(np.float32), "shift"))
        nodes.append(helper.make_node("Mul", ["image", "scale"], ["scaled"]))
        nodes.append(helper.make_node("Add", ["scaled", "shift"], ["normalised"]))
        names[-1] = "normalised"
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    if any(node.op == "relu6" for node in network.nodes):
        constants.extend(numpy_helper.from_array(np.array(value), name) for name, value in bounds.items())
    for index, node in enumerate(network.nodes):
        out = "logits" if index == len(network.nodes) - 1 else f"v{index}"
        inputs = [names[i] for i in node.inputs]
        if node.op == "conv":
            kernel = network.tensors[node.tensors[0]].shape[2]
            made = helper.make_node(
                "Conv",
                inputs + node.tensors,
                [out],
                kernel_shape=[kernel] * 2,
                pads=[kernel // 2] * 4,
                strides=[node.stride] * 2,
                group=node.groups,
            )
        elif node.op == "norm":
            made = helper.make_node("BatchNormalization", inputs + node.tensors, [out], epsilon=1e-5)
        elif node.op == "relu6":
            made = helper.make_node("Clip", [*inputs, "low", "high"], [out])
        elif node.op == "pool":
            nodes.append(helper.make_node("GlobalAveragePool", inputs, [f"{out}.map"]))
            made = helper.make_node("Flatten", [f"{out}.map"], [out], axis=1)
        elif node.op == "linear":
            made = helper.make_node("Gemm", inputs + node.tensors, [out], transB=1)
        else:
            made = helper.make_node({"relu": "Relu", "add": "Add"}[node.op], inputs, [out])
        nodes.append(made)
        names[index] = out
    size = "batch" if batch is None else batch
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [size, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [size, CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    onnx.save(model, path)
