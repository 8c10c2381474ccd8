"""Servers: JSON bodies of one image of 32-bit floats from 32 clients on the loopback address, against MLServer with onnxruntime.

Both serve the network that comes with the checkout: the edge's main block, no input offloaded and no class hard, so that both run
the same network on each image; and the cloud's network.
"""

import os
import pathlib
import subprocess
import time
from contextlib import ExitStack

import numpy as np

from harness import machine, servers, wrk
from harness.setup import ROOT, Setup
from harness.stats import ratio, spread

CLIENTS = 32
# What the figures of a server are called, and whether more is better.
FIGURES = {"per_second": True, "p50_ms": False, "p99_ms": False}


def export(setup: Setup, part: str) -> pathlib.Path:
    """The part of the model as an ONNX file, as `meanet export` writes it: pixels enter, and the batch is free."""
    folder = setup.work / "exported"
    if not folder.exists():
        subprocess.run([setup.binary(), "export", "--model", servers.MODEL, "--onnx", folder], check=True, stderr=subprocess.DEVNULL)
    return folder / f"{part}.onnx"


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 256, (count, 3, 32, 32), np.uint8)


def agree(ours: servers.Server, theirs: servers.Server, requests: list[bytes]) -> None:
    """Both give the same labels, so that the same work is measured."""
    for request in requests:
        (status, mine), (_, other) = ours.ask(request), theirs.ask(request)
        outputs = {output["name"]: output["data"] for output in mine["outputs"]} if status == 200 else {}
        label = outputs["label"][0] if "label" in outputs else int(np.argmax(outputs.get("logits", [-1])))
        if label != int(np.argmax(other["outputs"][0]["data"])):
            raise SystemExit(f"failed to compare: the servers disagree; ours says {mine}")


def starts(make, request: bytes, count: int) -> list[float]:
    """Milliseconds from the start of the process to its first answer."""
    taken = []
    for _ in range(count):
        with make() as server:
            taken.append(server.first_answer(request) * 1e3)
    return taken


def compare(setup: Setup, tier: str, part: str, python: str) -> dict[str, object]:
    onnx, requests = export(setup, part), wrk.bodies(pixels(16), "FP32")
    generator = wrk.Wrk(setup, tier, requests)

    def ours():
        return servers.edge(setup, {}, hard=[]) if tier == "edge" else servers.cloud(setup)

    # Threads of the process and workers beside it: what serves best depends on the machine, so each gets a chance.
    settings = {"MLServer": 0, "MLServer, 2 workers": 2}
    with ExitStack() as stack:
        up = {"meanet": stack.enter_context(ours())}
        up |= {name: stack.enter_context(servers.mlserver(setup, python, onnx, workers=count)) for name, count in settings.items()}
        for server in up.values():
            server.first_answer(requests[0])
        agree(up["meanet"], up["MLServer"], requests[:4])
        found = rounds(setup, {name: (server, generator) for name, server in up.items()}, CLIENTS)
        memory = {name: machine.resident(server.process.pid) for name, server in up.items()}
        for name, server in up.items():
            memory[name]["touched_mb"] = machine.touched_by(server.process.pid, lambda url=server.url: generator.load(url, CLIENTS, 2))
    best = max(settings, key=lambda name: spread([r["per_second"] for r in found[name]])["median"])
    count = 3 if setup.quick else 7
    first = {"meanet": starts(ours, requests[0], count), "MLServer": starts(lambda: servers.mlserver(setup, python, onnx), requests[0], count)}
    return {
        "tier": tier,
        "clients": CLIENTS,
        "body_bytes": len(requests[0]),
        "load": machine.load(),
        "best_peer": best,
        **summary(found, best),
        "memory_mb": memory,
        # The smallest setting of the peer: memory is no price of its speed.
        "memory_ratio": min(memory[name]["peak_mb"] for name in settings) / memory["meanet"]["peak_mb"],
        "touched_ratio": min(memory[name]["touched_mb"] for name in settings) / memory["meanet"]["touched_mb"],
        "first_answer_ms": {name: spread(values) for name, values in first.items()},
    }


def rounds(setup: Setup, targets: dict, clients: int) -> dict[str, list[dict[str, float]]]:
    """Lets `targets`, a server and a generator each, take turns."""
    seconds, count = (2, 3) if setup.quick else (4, 7)
    found = {name: [] for name in targets}
    names = list(targets)
    for server, generator in targets.values():
        generator.load(server.url, clients, 1)
    for number in range(count):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            server, generator = targets[name]
            found[name].append(generator.load(server.url, clients, seconds))
            time.sleep(0.2)
    return found


def summary(found: dict[str, list[dict[str, float]]], peer: str) -> dict[str, object]:
    """Spreads of all, and how many times better the first is than `peer`."""
    ours = next(iter(found))
    ratios = {}
    for figure, more in FIGURES.items():
        mine, theirs = ([r[figure] for r in found[name]] for name in (ours, peer))
        if more and not all(mine + theirs):
            raise RuntimeError(f"failed to compare: a server answered nothing in a round: {found}")
        ratios[figure] = ratio(mine, theirs) if more else ratio(theirs, mine)
    return {
        "servers": {name: {figure: spread([r[figure] for r in rows]) for figure in FIGURES} | {"failed": sum(r["failed"] for r in rows)} for name, rows in found.items()},
        "ratio": ratios,
    }


def sizes(setup: Setup, python: str | None) -> dict[str, float]:
    """Megabytes on disk: our programs, our images where they were built, and what MLServer needs beside Python."""
    found = {}
    for tier, program in (("edge", "meanet-edge"), ("runtime", "meanet")):
        found[f"{tier}_program_mb"] = setup.binary(program).stat().st_size / 1e6
        images = sorted((setup.cache / "images").glob(f"{tier}-*.tar"), key=os.path.getmtime)
        if images:
            found[f"{tier}_image_mb"] = images[-1].stat().st_size / 1e6
    if python:
        packages = pathlib.Path(python).parents[1]
        found["mlserver_packages_mb"] = int(subprocess.run(["du", "-sk", packages], check=True, capture_output=True, text=True).stdout.split()[0]) * 1024 / 1e6
    return found


def run(setup: Setup) -> dict[str, object]:
    python = setup.python("mlserver")
    if not python or not wrk.is_here(setup):
        raise SystemExit("servers are not measured: see what is missing above")
    figures = []
    for tier, part in (("edge", "main"), ("cloud", "cloud")):
        figure = compare(setup, tier, part, python)
        figures.append(figure)
        setup.say(
            f"server: {tier}: {figure['servers']['meanet']['per_second']['median']:.0f} requests/s, "
            f"{figure['ratio']['per_second']['median']:.2f} times {figure['best_peer']}; p99 {figure['ratio']['p99_ms']['median']:.2f} times less; "
            f"memory {figure['memory_ratio']:.1f} times less; first answer {figure['first_answer_ms']['meanet']['median']:.0f} ms"
        )
    return {"model": str(servers.MODEL.relative_to(ROOT)), "figures": figures, "sizes": sizes(setup, python)}
