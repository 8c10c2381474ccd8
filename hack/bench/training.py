"""Training: a step of adaptive and extension block over cached main features, against PyTorch.

Ours is `meanet train measure`, with all that a step of training takes: the images of a batch are gathered and augmented as well.
PyTorch is given the same batch again and again, so nothing but its arithmetic is counted. 128 images, SGD with momentum.
"""

import datetime
import json
import os
import pathlib
import subprocess

from harness import machine
from harness.peer import Peer, interleave
from harness.setup import ROOT, Setup
from harness.stats import ratio, spread

BATCH = 128
BACKBONE = "ResNet32"


def ours(setup: Setup, binary: pathlib.Path, backend: str, cores: list[int]):
    """Gives seconds a step."""
    env = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "MEANET_LOG": "error"}
    if backend == "torch":
        # Of this process alone: PyTorch has a LibTorch of its own.
        script = 'eval "$(hack/libtorch)" && printf %s "$LD_LIBRARY_PATH"'
        env["LD_LIBRARY_PATH"] = subprocess.run(["bash", "-c", script], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout

    def turn() -> float:
        command = [binary, "train", "measure", "--part", "extension", "--backend", backend, "--backbone", BACKBONE]
        command += ["--batch-size", BATCH, "--steps", 6 if setup.quick else 12]
        output = subprocess.run(
            [str(word) for word in command],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        ).stdout
        return BATCH / json.loads(output)["imagesPerSecond"]

    return turn


def torch_binary(setup: Setup) -> pathlib.Path | None:
    """The program built with LibTorch, where someone built it."""
    named = os.environ.get("MEANET_BENCH_TORCH_PROGRAM")
    if named and pathlib.Path(named).exists():
        return pathlib.Path(named)
    setup.lacks("meanet with LibTorch: build it as docs/guides/training.md says, and name it with MEANET_BENCH_TORCH_PROGRAM")
    return None


def run(setup: Setup) -> dict[str, object]:
    python = setup.python("torch")
    if not python:
        raise SystemExit("training is not measured: see what is missing above")
    figures, built = [], None
    for threads in setup.thread_counts():
        cores = setup.cores(threads)
        peer = Peer([python, str(pathlib.Path(__file__).parent / "peers/python/train_peer.py"), "--model", BACKBONE, "--batch", str(BATCH), "--threads", str(threads)], cores)
        takers = {backend: ours(setup, setup.binary(), backend, cores) for backend in ("engine", "flex")}
        if binary := torch_binary(setup):
            takers["torch"] = ours(setup, binary, "torch", cores)
            # Whoever named it knows of which commit it is.
            built = datetime.datetime.fromtimestamp(binary.stat().st_mtime).isoformat(timespec="minutes")
        peer.calls = 4 if setup.quick else 12
        takers["PyTorch"] = peer.turn
        try:
            taken = interleave(takers, setup.rounds(3, 7))
        finally:
            peer.close()
        figure = {
            "threads": threads,
            "batch": BATCH,
            "load": machine.load(),
            "images_per_second": {name: spread([BATCH / s for s in seconds]) for name, seconds in taken.items()},
            "ratio": {name: ratio(taken["PyTorch"], seconds) for name, seconds in taken.items() if name != "PyTorch"},
            "version": peer.about["version"],
        }
        figures.append(figure)
        words = ", ".join(f"{name} {entry['median']:.2f}" for name, entry in figure["ratio"].items())
        setup.say(f"training: {threads} threads: speed against PyTorch: {words}")
    return {"backbone": BACKBONE, "torch_program_built": built, "figures": figures}
