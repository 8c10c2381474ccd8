"""Any server of the Open Inference Protocol as the cloud: MLServer behind our edge, with a real network, and what has to come of it.

An image of which the main block is surer than the threshold is answered by it; all others carry MLServer's label and the exit
`cloud`. Both are checked against what the networks say when asked directly.
"""

import json
import pathlib
import subprocess

import numpy as np
import onnxruntime

from harness import machine, networks, onnx_file, servers, wrk
from harness.setup import ROOT, Setup
from server import export

# Nats; between the scores of most images.
THRESHOLD = 2.0
IMAGES = 200


def pack(setup: Setup, count: int) -> tuple[pathlib.Path, bool]:
    """A file of records of CIFAR-100 test images, and true; drawn by the project, and false, where there is no archive."""
    records = setup.work / f"records-{count}.bin"
    command = [setup.binary(), "data", "pack", "--limit", count, "--out", records]
    archive = subprocess.run([ROOT / "hack/data"], capture_output=True, text=True, check=False)
    if archive.returncode == 0:
        command += ["--data", archive.stdout.strip()]
    else:
        setup.lacks("CIFAR-100: its archive is not in the cache and could not be fetched; name it with MEANET_DATA. Drawn images stand in")
    subprocess.run([str(word) for word in command], check=True, stderr=subprocess.DEVNULL)
    return records, archive.returncode == 0


def strong(setup: Setup):
    """The cloud's network as an ONNX file: a trained MobileNetV2 of the weights folder where one is named, else the model's own."""
    if setup.weights and (path := setup.weights / networks.FILES["mobilenetv2"]).exists():
        onnx = setup.work / "standin.onnx"
        onnx_file.write(networks.load(path), onnx, batch=None, pixels=True)
        return path.stem, onnx
    return "the cloud's network of the checkout", export(setup, "cloud")


def entropy(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    return -(p * np.log(np.maximum(p, 1e-30))).sum(1)


def ask_directly(onnx, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": pixels.astype(np.float32)})[0]


def run(setup: Setup) -> dict[str, object]:
    python = setup.python("mlserver")
    if not python:
        raise SystemExit("the stand-in is not shown: see what is missing above")
    records, _ = pack(setup, IMAGES)
    # Two labels and 3,072 pixels each.
    pixels = np.fromfile(records, np.uint8).reshape(-1, 3074)[:, 2:].reshape(-1, 3, 32, 32)
    name, onnx = strong(setup)
    main, cloud = ask_directly(export(setup, "main"), pixels), ask_directly(onnx, pixels)
    scores = entropy(main)
    requests = wrk.bodies(pixels, "UINT8")
    counts = {"main": 0, "cloud": 0, "near": 0}
    with servers.mlserver(setup, python, onnx, name="standin") as theirs:
        theirs.first_answer(requests[0])
        with servers.edge(setup, {"offloadAbove": THRESHOLD, "cloudTimeout": "5s"}, hard=[], cloud_url=theirs.url.removesuffix("/infer")) as edge:
            edge.first_answer(requests[0])
            for number, request in enumerate(requests):
                status, answer = edge.ask(request)
                if status != 200:
                    raise SystemExit(f"failed: image {number} got status {status}: {answer}")
                output = {entry["name"]: entry["data"][0] for entry in answer["outputs"]}
                if output["degraded"]:
                    raise SystemExit(f"failed: image {number} got no answer from the stand-in: {json.dumps(output)}")
                if abs(scores[number] - THRESHOLD) < 1e-3:
                    counts["near"] += 1
                    continue
                exit_, logits = ("cloud", cloud) if scores[number] > THRESHOLD else ("main", main)
                expected = {"exit": exit_, "label": int(logits[number].argmax())}
                if any(output[key] != value for key, value in expected.items()):
                    raise SystemExit(f"failed: image {number} with score {scores[number]:.3f} got {json.dumps(output)}, not {expected}")
                counts[exit_] += 1
    if not (counts["main"] and counts["cloud"]):
        raise SystemExit(f"failed: every image took one exit, which shows nothing: {counts}")
    setup.say(f"standin: {counts['main']} images by the main block, {counts['cloud']} by MLServer, all as expected")
    return {"network": name, "threshold": THRESHOLD, "images": len(pixels), "exits": counts, "load": machine.load()}
