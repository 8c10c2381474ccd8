"""The load generator wrk, which is nobody's own: some clients, each of which sends its next request when its last is answered."""

import json
import pathlib
import shutil
import subprocess

import numpy as np

from harness.setup import Setup

# Bodies rotate; answers are counted by status; latencies are of all answers.
SCRIPT = """
local bodies, turn = {}, 0
-- Only here does wrk know the header Host.
function init()
  for number = 1, %(count)d do
    local file = io.open(string.format("%(stem)s.%%d", number), "rb")
    bodies[number] = wrk.format("POST", wrk.path, {["Host"] = wrk.headers["Host"], ["Content-Type"] = "application/json"}, file:read("*a"))
    file:close()
  end
end
function request() turn = turn %% %(count)d + 1; return bodies[turn] end
function done(summary, latency)
  io.write(string.format('{"requests": %%d, "us": %%d, "status": %%d, "socket": %%d, "p50": %%d, "p90": %%d, "p99": %%d, "max": %%d}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


def bodies(pixels: np.ndarray, datatype: str) -> list[bytes]:
    """One request an image of `pixels`, `[n, 3, 32, 32]` bytes, as JSON."""
    number = float if datatype == "FP32" else int

    def body(image: np.ndarray) -> bytes:
        tensor = {"name": "image", "datatype": datatype, "shape": [1, *image.shape], "data": [number(v) for v in image.reshape(-1)]}
        return json.dumps({"inputs": [tensor]}).encode()

    return [body(image) for image in pixels]


class Wrk:
    """wrk with some bodies; none where it is not installed."""

    def __init__(self, setup: Setup, name: str, requests: list[bytes]):
        self.stem = setup.work / f"body-{name}"
        for number, request in enumerate(requests, 1):
            pathlib.Path(f"{self.stem}.{number}").write_bytes(request)
        self.script = setup.work / f"{name}.lua"
        self.script.write_text(SCRIPT % {"count": len(requests), "stem": self.stem})

    def load(self, url: str, clients: int, seconds: float) -> dict[str, float]:
        """Throughput of answers with status 2xx, latencies in ms, and failures."""
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "30s", "-s", self.script, url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.strip().splitlines()[-1])
        good = found["requests"] - found["status"]
        return {
            "per_second": good / found["us"] * 1e6,
            "p50_ms": found["p50"] / 1e3,
            "p99_ms": found["p99"] / 1e3,
            "failed": found["status"] + found["socket"],
        }


def is_here(setup: Setup) -> bool:
    if shutil.which("wrk"):
        return True
    setup.lacks("wrk: servers are not measured; install it (apt-get install wrk)")
    return False
