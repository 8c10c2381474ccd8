"""8 bits: one main exit in integers, against onnxruntime's quantised network and against floats of either engine.

Both are calibrated on the images that they are then given. onnxruntime gets what its guide names for processors like these: quantise and
dequantise nodes, weights of each channel by themselves, bytes without a sign for activations, 7 bits for weights where sums of 8 could
overflow.
"""

import itertools
import logging
import pathlib

import numpy as np
from onnxruntime import quantization

import engine
from harness import machine, networks
from harness.peer import Peer, taking_turns
from harness.setup import Setup
from harness.stats import ratio, spread


class Images(quantization.CalibrationDataReader):
    """Gives one batch, once."""

    def __init__(self, batch: np.ndarray):
        self.batches = iter([{"image": batch}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def quantise(model: pathlib.Path, images: np.ndarray, isa: str) -> pathlib.Path:
    """The ONNX file of the same network in 8 bits."""
    path = model.with_name(f"{model.stem}-int8.onnx")
    # What it advises to do first, folding norms, is done.
    logging.getLogger().setLevel(logging.ERROR)
    quantization.quantize_static(
        model,
        path,
        Images(images),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=isa == "Avx2",
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return path


def measure(setup: Setup, name: str, batch: int, threads: int) -> dict[str, object] | None:
    python = setup.python("onnxruntime")
    if not python:
        return None
    case = engine.Case.make(setup, name, batch, threads)
    ours = case.meanet(setup)
    peers = {"meanet": Peer([*ours, "--int8"], case.cores, case.env), "meanet, floats": Peer(ours, case.cores, case.env)}
    try:
        isa = peers["meanet"].about["isa"]
        quantised = quantise(case.files["onnx"], case.images(), isa)
        for peer, model in (("onnxruntime", quantised), ("onnxruntime, floats", case.files["onnx"])):
            peers[peer] = Peer(case.onnxruntime(python, model), case.cores, case.env)
        exact = peers["meanet, floats"].logits()
        off = {peer: float(np.abs(peers[peer].logits() - exact).max() / np.abs(exact).max()) for peer in ("meanet", "onnxruntime")}
        taken = taking_turns(peers, setup.rounds(12, 25))
        version = peers["onnxruntime"].about["version"]
    finally:
        for peer in peers.values():
            peer.close()
    return {
        "network": name,
        "batch": batch,
        "threads": threads,
        "load": machine.load(),
        "isa": isa,
        "difference": off,
        "ms": {peer: spread([1e3 * s for s in seconds]) for peer, seconds in taken.items()},
        "ratio": {peer: ratio(seconds, taken["meanet"]) for peer, seconds in taken.items() if peer != "meanet"},
        "version": version,
    }


def run(setup: Setup) -> dict[str, object]:
    figures = []
    for name, batch, threads in itertools.product(networks.FILES, (1, 32), setup.thread_counts()):
        if figure := measure(setup, name, batch, threads):
            figures.append(figure)
            ratios = ", ".join(f"{peer} {entry['median']:.2f}" for peer, entry in figure["ratio"].items())
            setup.say(f"int8: {name} batch {batch} threads {threads}: {figure['ms']['meanet']['median']:.3g} ms; ratios {ratios}")
    if not figures:
        raise RuntimeError("failed to measure: onnxruntime is not here")
    return {"weights": "named folder" if setup.weights else "random", "figures": figures}
