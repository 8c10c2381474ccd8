"""A whole MEANet with its exits, on CIFAR-100 test images, against main and extension block on every image.

The network is the one that comes with the checkout. `hard` is an edge on its own: the extension runs where the main block names a hard
class and is not sure beyond doubt; `thrifty` may cost a point of accuracy for the sake of speed. `offload` is an edge with a cloud: what
the main block is unsure of leaves, and the cloud's work is not counted. How sure is sure enough (`extendAbove`) is chosen as `meanet choose`
does, on images that are neither timed nor reported on.
"""

from collections.abc import Mapping

import numpy as np

from harness import machine, servers
from harness.peer import Peer, taking_turns
from harness.setup import Setup
from harness.stats import ratio, spread
from standin import pack

# Nats of entropy above which an image leaves; the value of the demo.
OFFLOAD_ABOVE = 1.2
# Share of the answers that a thrifty edge may get wrong for not extending more.
COST = 0.01
# Images to choose extendAbove on.
CHOSEN_ON = 2500
MODES = {"everything": "all", "hard": "hard", "thrifty": f"hard={COST}", "offload": f"offload={OFFLOAD_ABOVE}"}
WITH_EXITS = [name for name in MODES if name != "everything"]


def run(setup: Setup) -> dict[str, object]:
    timed = 256 if setup.quick else 500
    records, official = pack(setup, timed + CHOSEN_ON)
    figures = []
    for threads in setup.thread_counts():
        for batch in (1, 32):
            command = [str(word) for word in (setup.example("exits_bench"), servers.MODEL, records)]
            peers = {name: Peer([*command, mode, "--batch", str(batch), "--timed", str(timed)], setup.cores(threads)) for name, mode in MODES.items()}
            try:
                taken = taking_turns(peers, setup.rounds(6, 15))
            finally:
                for peer in peers.values():
                    peer.close()
            images = peers["hard"].about["images"]
            figure = {
                "threads": threads,
                "batch": batch,
                "load": machine.load(),
                "images_per_second": {name: spread([images / s for s in seconds]) for name, seconds in taken.items()},
                "ratio": {name: ratio(taken["everything"], taken[name]) for name in WITH_EXITS},
                "accuracy": {name: accuracy(peers[name].about) for name in WITH_EXITS},
                "exits": {name: shares(peer.about["exits"], images) for name, peer in peers.items()},
            }
            figures.append(figure)
            words = ", ".join(f"{name} {entry['median']:.2f}" for name, entry in figure["ratio"].items())
            setup.say(f"exits: batch {batch}, {threads} threads: throughput against everything on every image: {words}")
    return {
        "images": "CIFAR-100 test" if official else "drawn",
        "offload_above": OFFLOAD_ABOVE,
        "extend_above": {name: peers[name].about["extendAbove"] for name in WITH_EXITS},
        "backbone": peers["hard"].about["backbone"],
        "figures": figures,
    }


def accuracy(about: Mapping) -> dict[str, float]:
    """Of the images that are answered at the edge, with exits and with everything on every image."""
    counts = [count for exit_, count in about["exits"].items() if exit_ != "cloud"]
    images, right = (sum(column) for column in zip(*counts, strict=True))
    return {"exits": right / images, "everything": about["rightByAll"] / images}


def shares(exits: dict[str, list[int]], images: int) -> dict[str, dict[str, float]]:
    """Share of the images and accuracy by exit; none for what leaves."""
    return {exit_: {"share": count / images, "accuracy": float(np.divide(right, count)) if exit_ != "cloud" else None} for exit_, (count, right) in exits.items()}
