"""Networks as lists of plain operations, with weights that are random, or read from a safetensors file.

Tensors have PyTorch's names of a CIFAR ResNet (He et al. 2016, §4.2) or of MobileNetV2 ×0.5 for CIFAR (Sandler et al. 2018).
"""

import json
import pathlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

CLASSES = 100
MEAN = np.array([0.5071, 0.4867, 0.4408], np.float32)
STD = np.array([0.2675, 0.2565, 0.2761], np.float32)
# Networks that benchmarks know, and the file of a weights folder that holds each.
FILES = {"resnet32": "cifar100-resnet32.safetensors", "mobilenetv2": "cifar100-mobilenetv2_x0_5-bnfolded.safetensors"}
# Expansion, channels, repeats, stride.
MOBILE_STAGES = ((1, 8, 1, 1), (6, 16, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))

# Gives the tensor of a name and shape.
Take = Callable[[str, tuple[int, ...]], np.ndarray]


@dataclass
class Node:
    """One operation: conv, norm, relu, relu6, add, pool or linear. Values are numbered by node; -1 is the image."""

    op: str
    inputs: list[int]
    tensors: list[str] = field(default_factory=list)
    stride: int = 1
    groups: int = 1


@dataclass
class Network:
    """Nodes in an order in which they can run; the last gives the logits."""

    nodes: list[Node]
    tensors: dict[str, np.ndarray]


class Builder:
    """Appends nodes; each method gives the number of its own."""

    def __init__(self, take: Take):
        self.take, self.network = take, Network([], {})

    def add(self, node: Node) -> int:
        self.network.nodes.append(node)
        return len(self.network.nodes) - 1

    def tensor(self, name: str, *shape: int) -> str:
        self.network.tensors[name] = self.take(name, shape)
        return name

    def conv(self, name: str, x: int, wide: tuple[int, int], kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False) -> int:
        tensors = [self.tensor(f"{name}.weight", wide[1], wide[0] // groups, kernel, kernel)]
        if bias:
            tensors.append(self.tensor(f"{name}.bias", wide[1]))
        return self.add(Node("conv", [x], tensors, stride, groups))

    def norm(self, name: str, x: int, channels: int) -> int:
        parts = ("weight", "bias", "running_mean", "running_var")
        return self.add(Node("norm", [x], [self.tensor(f"{name}.{part}", channels) for part in parts]))

    def head(self, name: str, x: int, channels: int) -> Network:
        pooled = self.add(Node("pool", [x]))
        self.add(Node("linear", [pooled], [self.tensor(f"{name}.weight", CLASSES, channels), self.tensor(f"{name}.bias", CLASSES)]))
        return self.network

    def resnet(self, blocks: int, width: int = 1) -> Network:
        """Depth `6·blocks + 2`, with 1×1 convolutions as shortcuts where the shape changes."""
        channels = 16 * width
        x = self.norm("bn1", self.conv("conv1", -1, (3, channels), 3), channels)
        x = self.add(Node("relu", [x]))
        for stage in range(3):
            out = 16 * width << stage
            for block in range(blocks):
                name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
                y = self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, (channels, out), 3, stride=stride), out)
                y = self.add(Node("relu", [y]))
                y = self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y, (out, out), 3), out)
                if channels != out:
                    x = self.conv(f"{name}.downsample.0", x, (channels, out), 1, stride=stride)
                    x = self.norm(f"{name}.downsample.1", x, out)
                x = self.add(Node("relu", [self.add(Node("add", [y, x]))]))
                channels = out
        return self.head("fc", x, channels)

    def mobilenet(self) -> Network:
        """Batch norms are folded."""
        x = self.add(Node("relu6", [self.conv("features.0.0", -1, (3, 16), 3, bias=True)]))
        channels, index = 16, 1
        for expand, out, repeat, first in MOBILE_STAGES:
            for block in range(repeat):
                name, hidden, stride = f"features.{index}.conv", channels * expand, first if block == 0 else 1
                y, layer = x, 0
                if expand > 1:
                    y = self.add(Node("relu6", [self.conv(f"{name}.0.0", y, (channels, hidden), 1, bias=True)]))
                    layer = 1
                y = self.conv(f"{name}.{layer}.0", y, (hidden, hidden), 3, stride=stride, groups=hidden, bias=True)
                y = self.add(Node("relu6", [y]))
                y = self.conv(f"{name}.{layer + 1}", y, (hidden, out), 1, bias=True)
                x = self.add(Node("add", [y, x])) if stride == 1 and channels == out else y
                channels, index = out, index + 1
        x = self.add(Node("relu6", [self.conv(f"features.{index}.0", x, (channels, 1280), 1, bias=True)]))
        return self.head("classifier.1", x, 1280)

    def build(self, name: str) -> Network:
        if name == "mobilenetv2":
            return self.mobilenet()
        depth, _, width = name.removeprefix("resnet").partition("x")
        return self.resnet((int(depth) - 2) // 6, int(width or 1))


def random(name: str, seed: int = 1) -> Network:
    """The network `name` (`resnet32`, `resnet20x2`, `mobilenetv2`), with seeded weights that keep activations in range."""
    rng = np.random.default_rng(seed)

    def take(tensor: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            spread = np.sqrt(6 / np.prod(shape[1:]))
            values = rng.uniform(-spread, spread, shape)
        else:
            centre = 1.0 if tensor.endswith("running_var") else 0.7 if re.search(r"(bn.|downsample\.1)\.weight$", tensor) else 0.0
            values = centre + rng.uniform(-0.2, 0.2, shape)
        return values.astype(np.float32)

    return Builder(take).build(name)


def read(name: str, tensors: dict[str, np.ndarray]) -> Network:
    """The network `name` with tensors of PyTorch's names."""

    def take(tensor: str, shape: tuple[int, ...]) -> np.ndarray:
        values = tensors.get(tensor)
        if values is None or values.shape != shape:
            raise SystemExit(f"failed to read {name}: tensor {tensor} of shape {shape} is missing or has another shape")
        return values

    return Builder(take).build(name)


def load(path: pathlib.Path) -> Network:
    """The network of a safetensors file, which is told by the names in it."""
    tensors, _ = read_safetensors(path)
    if "features.0.0.weight" in tensors:
        return read("mobilenetv2", tensors)
    blocks = sum(1 for key in tensors if re.fullmatch(r"layer1\.\d+\.conv1\.weight", key))
    width = tensors["conv1.weight"].shape[0] // 16
    return read(f"resnet{6 * blocks + 2}x{width}", tensors)


def from_blob(path: pathlib.Path) -> Network:
    """The main block or the cloud's network of a blob of this project's."""
    ours, _ = read_safetensors(path)
    leaves = {"gamma": "weight", "beta": "bias"}
    tensors = {}
    for key, value in ours.items():
        parts = key.split(".")
        leaf = leaves.get(parts[-1], parts[-1])
        if parts[0] == "head":
            name, value = f"fc.{leaf}", value.T if leaf == "weight" else value
        elif parts[0] == "stem":
            name = f"{'bn' if parts[1] == 'norm' else 'conv'}1.{leaf}"
        else:
            stage, block, place, layer = parts[1:5]
            if place == "shortcut":
                tail = f"downsample.{int(layer == 'norm')}"
            else:
                tail = ("bn" if layer == "norm" else "conv") + ("1" if place == "first" else "2")
            name = f"layer{int(stage) + 1}.{block}.{tail}.{leaf}"
        tensors[name] = np.ascontiguousarray(value)
    blocks = sum(1 for key in tensors if re.fullmatch(r"layer1\.\d+\.conv1\.weight", key))
    return read(f"resnet{6 * blocks + 2}x{tensors['conv1.weight'].shape[0] // 16}", tensors)


def fold(network: Network) -> Network:
    """The same network with batch norms as part of the convolutions before them."""
    nodes, tensors, moved = [], dict(network.tensors), {-1: -1}
    for index, node in enumerate(network.nodes):
        if node.op == "norm":
            gamma, beta, mean, variance = (tensors.pop(name) for name in node.tensors)
            scale = gamma / np.sqrt(variance + 1e-5)
            conv = nodes[moved[node.inputs[0]]]
            weight = conv.tensors[0]
            tensors[weight] = (tensors[weight] * scale[:, None, None, None]).astype(np.float32)
            bias = weight.removesuffix("weight") + "bias"
            tensors[bias] = (beta - mean * scale).astype(np.float32)
            conv.tensors = [weight, bias]
            moved[index] = moved[node.inputs[0]]
            continue
        nodes.append(Node(node.op, [moved[i] for i in node.inputs], list(node.tensors), node.stride, node.groups))
        moved[index] = len(nodes) - 1
    return Network(nodes, tensors)


def read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Float tensors by name, and the metadata of the header."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if entry["dtype"] == "F32"
    }
    return tensors, metadata


def write_safetensors(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    header, offset = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(v).tobytes() for v in tensors.values()))


def normalise(pixels: np.ndarray) -> np.ndarray:
    """`[n, 3, 32, 32]` bytes as a network takes them."""
    return (pixels.astype(np.float32) / 255 - MEAN[:, None, None]) / STD[:, None, None]
