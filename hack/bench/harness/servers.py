"""Servers under test: ours at both tiers, and MLServer. Each listens on the loopback address and ends with its `with`."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.setup import ROOT, Setup

MODEL = ROOT / "runtime/models/cifar100"
# What the image of the runtime sets.
ENVIRONMENT = dict(re.findall(r"^ENV (\w+)=(.+)$", (ROOT / "hack/Dockerfile").read_text(), re.MULTILINE))
# Longest wait for a first answer, in seconds.
PATIENCE = 60


@dataclass
class Server:
    """A process that answers inference requests."""

    process: subprocess.Popen
    port: int
    path: str
    started: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def ask(self, body: bytes) -> tuple[int, dict]:
        """Status and answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def first_answer(self, body: bytes) -> float:
        """Seconds from the start of the process to its first answer."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                if self.ask(body)[0] == 200:
                    return time.monotonic() - self.started
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode}; its log is {self.process.args}")
            if time.monotonic() - self.started > PATIENCE:
                raise RuntimeError(f"no answer from {self.url} in {PATIENCE} s")
            time.sleep(0.002)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serve(command: Sequence[object], port: int, path: str, log: pathlib.Path, env: Mapping[str, str], cwd: pathlib.Path | None = None) -> Iterator[Server]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output, cwd=cwd, env={**os.environ, **env}, start_new_session=True
        )
    try:
        yield Server(process, port, path, time.monotonic())
    except Exception:
        print(log.read_text()[-2000:])
        raise
    finally:
        # A server's children are in its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def manifest() -> dict:
    return json.loads((MODEL / "manifest.json").read_text())


def cloud(setup: Setup, *options: object) -> contextlib.AbstractContextManager[Server]:
    """Our cloud tier with the cloud's network of the model."""
    store = setup.work / "store"
    if not store.exists():
        shutil.copytree(MODEL / "blobs", store / "blobs")
    port = free_port()
    command = [setup.binary(), "cloud", "--deployment", "bench", "--store", store, "--listen", f"127.0.0.1:{port}"]
    command += ["--max-samples", 1000, "--weights", manifest()["weights"]["cloud"], *options]
    return serve(command, port, "/v2/models/cloud/infer", setup.work / "cloud.log", {**ENVIRONMENT, "MEANET_LOG": "warn"})


def edge(
    setup: Setup, routing: Mapping[str, object], *, hard: Sequence[int] | None = None, cloud_url: str = "http://127.0.0.1:9/v2/models/cloud"
) -> contextlib.AbstractContextManager[Server]:
    """Our edge, started as after a restart with no cluster in reach: its revision is the one it remembers."""
    model = manifest()
    digests = model["weights"]
    spec = {
        "deployment": "bench",
        "number": 1,
        "cause": "WeightsImported",
        "model": {
            "backbone": model["backbone"],
            "variant": model["variant"],
            "classes": model["classes"],
            "weights": {"digest": "sha256:" + hashlib.sha256((MODEL / "manifest.json").read_bytes()).hexdigest()},
        },
        "weights": {part: digests[part] for part in ("main", "adaptive", "extension")},
        "hardClasses": model["hardClasses"] if hard is None else list(hard),
        "routing": {"score": "Entropy", "cloudTimeout": "2s", **routing},
    }
    port = free_port()
    cache = pathlib.Path(tempfile.mkdtemp(prefix="edge-", dir=setup.work))
    shutil.copytree(MODEL / "blobs", cache / "blobs")
    (cache / "active.json").write_text(json.dumps({"name": "bench-0000000001", "spec": spec}))
    kubeconfig = cache / "kubeconfig"
    # Nothing listens there: an edge serves on what it remembers.
    cluster = {"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "none"}}
    user = {"name": "none", "user": {}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": [user], "current-context": "none"}
    kubeconfig.write_text(json.dumps(config))
    command = [setup.binary("meanet-edge"), "edge", "--deployment", "bench", "--namespace", "bench", "--node", "edge", "--cache-dir", cache]
    command += ["--store-url", "http://127.0.0.1:9", "--cloud-url", cloud_url, "--listen", f"127.0.0.1:{port}"]
    env = {**ENVIRONMENT, "KUBECONFIG": str(kubeconfig), "MEANET_LOG": "error,kube_client=off"}
    return serve(command, port, "/v2/models/bench/infer", setup.work / "edge.log", env)


def mlserver(setup: Setup, python: str, onnx: pathlib.Path, *, workers: int = 0, threads: int = 1, name: str = "model") -> contextlib.AbstractContextManager[Server]:
    """MLServer with onnxruntime; without workers it computes in its one process, which is faster where a model is small."""
    port = free_port()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mlserver-", dir=setup.work))
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": workers,
        "debug": False,
        "access_log": False,
    }
    model = {"name": name, "implementation": "onnx_model.OnnxModel", "parameters": {"uri": str(onnx), "extra": {"threads": threads}}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    env = {"PYTHONPATH": str(ROOT / "hack/bench/mlserver"), "OMP_NUM_THREADS": str(threads)}
    command = [pathlib.Path(python).with_name("mlserver"), "start", "."]
    return serve(command, port, f"/v2/models/{name}/infer", folder / "log", env, folder)
