"""The engine: one main exit, against other engines on the same weights and images.

Ours normalises bytes itself; peers are given floats that are normalised already. Peers get batch norms folded; one onnxruntime gets
them as a training framework exports them.
"""

import dataclasses
import itertools
import pathlib

import numpy as np

from harness import machine, networks, onnx_file
from harness.peer import Peer, taking_turns
from harness.setup import Setup
from harness.stats import ratio, spread

HERE = pathlib.Path(__file__).parent
# Floats differ by rounding; Winograd's convolution rounds more.
TOLERANCE = 2e-3


def network(setup: Setup, name: str) -> pathlib.Path:
    """The safetensors file of a network: of the weights folder where one is named, else random and made here."""
    if setup.weights:
        path = setup.weights / networks.FILES[name]
        if path.exists():
            return path
        setup.say(f"engine: {path} is missing; {name} gets random weights")
    path = setup.work / f"{name}.safetensors"
    networks.write_safetensors(path, networks.random(name).tensors)
    return path


@dataclasses.dataclass
class Case:
    """One network with a batch of images for it, as files that engines load."""

    name: str
    batch: int
    threads: int
    cores: list[int]
    files: dict[str, pathlib.Path]

    @classmethod
    def make(cls, setup: Setup, name: str, batch: int, threads: int) -> "Case":
        weights = network(setup, name)
        plain = networks.load(weights)
        files = {"safetensors": weights, "onnx": setup.work / f"{name}-b{batch}.onnx", "exported": setup.work / f"{name}-b{batch}-norms.onnx"}
        onnx_file.write(networks.fold(plain), files["onnx"], batch=batch)
        onnx_file.write(plain, files["exported"], batch=batch)
        files |= {"bytes": setup.work / f"b{batch}.u8", "floats": setup.work / f"b{batch}.f32"}
        pixels = np.random.default_rng(7).integers(0, 256, (batch, 3, 32, 32), np.uint8)
        pixels.tofile(files["bytes"])
        networks.normalise(pixels).tofile(files["floats"])
        return cls(name, batch, threads, setup.cores(threads), files)

    @property
    def env(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": str(self.threads), "RTEN_NUM_THREADS": str(self.threads)}

    @property
    def floats(self) -> list[str]:
        """Arguments of every peer but ours."""
        return ["--images", str(self.files["floats"]), *self.size]

    @property
    def size(self) -> list[str]:
        return ["--batch", str(self.batch), "--threads", str(self.threads)]

    def images(self) -> np.ndarray:
        """What `floats` names."""
        return np.fromfile(self.files["floats"], np.float32).reshape(self.batch, 3, 32, 32)

    def meanet(self, setup: Setup) -> list[str]:
        return [str(setup.example("engine_bench")), "--weights", str(self.files["safetensors"]), "--images", str(self.files["bytes"]), *self.size]

    def onnxruntime(self, python: str, model: pathlib.Path) -> list[str]:
        return [python, str(HERE / "peers/python/ort_peer.py"), "--model", str(model), *self.floats]


def start(setup: Setup, case: Case) -> dict[str, Peer]:
    """All engines that are here, loaded."""
    files, floats = case.files, case.floats
    commands = {"meanet": case.meanet(setup)}
    if python := setup.python("onnxruntime"):
        commands["onnxruntime"] = case.onnxruntime(python, files["onnx"])
        if case.name.startswith("resnet") and not setup.quick:
            commands["onnxruntime, norms"] = case.onnxruntime(python, files["exported"])
    if python := setup.python("torch"):
        peer = HERE / "peers/python/torch_peer.py"
        commands["PyTorch"] = [python, peer, "--model", files["safetensors"], "--variant", "jit", *floats]
        commands["PyTorch, eager"] = [python, peer, "--model", files["safetensors"], *floats]
    if binary := setup.peers():
        commands |= {engine: [binary, engine, "--model", files["onnx"], *floats] for engine in ("tract", "rten")}
        commands["sgemm"] = [binary, "gemm", "--threads", str(case.threads)]
    return {peer: Peer([str(word) for word in command], case.cores, case.env) for peer, command in commands.items()}


def check(peers: dict[str, Peer]) -> float:
    """Largest difference of logits from the first peer beside us, relative to the largest logit; too large a one is an error."""
    ours, worst = peers["meanet"].logits(), 0.0
    for name, peer in peers.items():
        if name in ("meanet", "sgemm"):
            continue
        theirs = peer.logits()
        off = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
        if not off < TOLERANCE:
            raise SystemExit(f"failed to compare with {name}: logits differ by {off:.2g} of the largest")
        worst = max(worst, off)
    return worst


def measure(setup: Setup, name: str, batch: int, threads: int) -> dict[str, object]:
    peers = start(setup, Case.make(setup, name, batch, threads))
    try:
        difference = check(peers)
        taken = taking_turns(peers, setup.rounds(12, 25))
    finally:
        for peer in peers.values():
            peer.close()
    about = peers["meanet"].about
    figure = {
        "network": name,
        "batch": batch,
        "threads": threads,
        "load": machine.load(),
        "difference": difference,
        "isa": about["isa"],
        "ms": {peer: spread([1e3 * s for s in seconds]) for peer, seconds in taken.items() if peer != "sgemm"},
        "ratio": {peer: ratio(seconds, taken["meanet"]) for peer, seconds in taken.items() if peer not in ("meanet", "sgemm")},
        "versions": {peer: process.about.get("version") for peer, process in peers.items() if process.about.get("version")},
    }
    if "sgemm" in taken:
        peak = [2 * peers["sgemm"].about["side"] ** 3 / s / 1e9 for s in taken["sgemm"]]
        reached = [2 * about["macs"] * batch / s / 1e9 for s in taken["meanet"]]
        figure["gflops"] = {"sgemm": spread(peak), "meanet": spread(reached), "share": ratio(reached, peak)}
    return figure


def run(setup: Setup) -> dict[str, object]:
    figures = []
    for name, batch, threads in itertools.product(networks.FILES, (1, 32), setup.thread_counts()):
        figure = measure(setup, name, batch, threads)
        figures.append(figure)
        ratios = ", ".join(f"{peer} {entry['median']:.2f}" for peer, entry in figure["ratio"].items())
        setup.say(f"engine: {name} batch {batch} threads {threads}: {figure['ms']['meanet']['median']:.3g} ms; ratios {ratios}")
    return {"weights": "named folder" if setup.weights else "random", "figures": figures}
