"""PyTorch as a peer, eager or compiled by its jit and optimised for inference; batch norms are folded either way."""

import pathlib
import sys

import numpy as np
import torch
from torch.nn import functional as F

import speak

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from harness import networks  # noqa: E402

args = speak.arguments()
torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
network = networks.fold(networks.load(pathlib.Path(args.model)))


class Net(torch.nn.Module):
    """Runs the nodes one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {name: torch.from_numpy(values.copy()) for name, values in network.tensors.items()}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {-1: x}
        for index, node in enumerate(network.nodes):
            x = values[node.inputs[0]]
            tensors = [self.weights[name] for name in node.tensors]
            if node.op == "conv":
                x = F.conv2d(x, *tensors, stride=node.stride, padding=tensors[0].shape[2] // 2, groups=node.groups)
            elif node.op == "relu":
                x = torch.relu(x)
            elif node.op == "relu6":
                x = F.relu6(x)
            elif node.op == "add":
                x = x + values[node.inputs[1]]
            elif node.op == "pool":
                x = x.mean((2, 3))
            else:
                x = F.linear(x, *tensors)
            values[index] = x
        return x


images = torch.from_numpy(np.fromfile(args.images, np.float32).reshape(args.batch, 3, 32, 32))
with torch.inference_mode():
    net = Net().eval()
    if args.variant == "jit":
        with torch.no_grad():
            net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, images)))

    def run() -> np.ndarray:
        return net(images).numpy()

    sys.exit(speak.serve(run, {"version": torch.__version__}))
