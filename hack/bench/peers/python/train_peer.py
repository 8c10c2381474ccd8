"""PyTorch as a peer in training: one call is one step of adaptive and extension block on cached main features."""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import speak

args = speak.arguments()
torch.set_num_threads(args.threads)
torch.manual_seed(1)
CHANNELS, CLASSES = (16, 32, 64), 100


class Block(nn.Module):
    def __init__(self, wide: int, out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        changes = wide != out or stride != 1
        self.around = nn.Sequential(nn.Conv2d(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.around(x))


class Specialist(nn.Module):
    """Both blocks, as in runtime/net/src/extend.rs."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = CHANNELS
        self.adaptive = nn.Sequential(
            nn.Conv2d(3, a, 3, 1, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU(), Block(a, a, 1), Block(a, b, 2), Block(b, c, 2)
        )
        self.extension = nn.Sequential(Block(2 * c, c, 1), Block(c, c, 1), Block(c, c, 1), Block(c, c, 1))
        self.head = nn.Linear(c, CLASSES)

    def forward(self, images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        x = self.extension(torch.cat([features, self.adaptive(images)], 1))
        return self.head(x.mean((2, 3)))


net = Specialist().train()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
images, features = torch.randn(args.batch, 3, 32, 32), torch.randn(args.batch, CHANNELS[2], 8, 8).relu()
main, labels = torch.randn(args.batch, CLASSES), torch.randint(0, CLASSES, (args.batch,))


def step() -> np.ndarray:
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(main + net(images, features), labels)
    loss.backward()
    optimizer.step()
    return loss.detach().numpy()


sys.exit(speak.serve(step, {"version": torch.__version__}))
