"""Overload: five times as many requests as a cloud tier can answer, whether it answers or not.

`meanet load` sends at a rate, as a crowd does that does not wait for the others. Capacity is the most that the server answered as the
rate was raised, right before; goodput is what it answers in the overload. A refusal is an answer that says "too busy".
"""

import json
import subprocess
import time

from harness import machine, servers
from harness.setup import Setup
from harness.stats import spread
from standin import pack

TIMES = 5
# Where the search for capacity begins, in requests a second, and how fast it climbs.
FIRST, CLIMB = 100, 1.4
# Requests under way at most.
CROWD = 4000


def storm(setup: Setup, server: servers.Server, rate: float, seconds: float) -> dict:
    """What came back of `rate` requests a second."""
    records, _ = pack(setup, 256)
    url = server.url.removesuffix("/infer")
    command = [setup.binary(), "load", "--url", url, "--images", records, "--rate", f"{rate:.1f}", "--clients", CROWD]
    command += ["--seconds", seconds, "--watch-pid", server.process.pid]
    output = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def capacity(setup: Setup, server: servers.Server, seconds: float) -> float:
    """The most requests a second that the server answers."""
    rate, best = FIRST, 0.0
    while True:
        answered = storm(setup, server, rate, seconds)["requests_per_second"]
        best = max(best, answered)
        if answered < 0.85 * rate:
            return best
        rate *= CLIMB


def run(setup: Setup) -> dict[str, object]:
    seconds, found = (3 if setup.quick else 8), []
    with servers.cloud(setup) as server:
        pixels = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 3, 32, 32], "data": [128] * 3072}]})
        server.first_answer(pixels.encode())
        for _ in range(setup.rounds(2, 5)):
            can = capacity(setup, server, 2)
            over = storm(setup, server, TIMES * can, seconds)
            found.append(
                {
                    "capacity": can,
                    "goodput": over["requests_per_second"] / can,
                    "answered_p50_ms": over["latency_ms"]["p50"],
                    "answered_p99_ms": over["latency_ms"]["p99"],
                    "refused_per_second": over["refused"] / over["seconds"],
                    "refused_p50_ms": over["refused_latency_ms"]["p50"] or 0.0,
                    "refused_p99_ms": over["refused_latency_ms"]["p99"] or 0.0,
                    "failed": over["failures"] - over["refused"],
                    "unsent": over["unsent"],
                    "before_mib": over["memory_mib"]["start"],
                    "most_mib": over["memory_mib"]["max"],
                    "grown_mib": over["memory_mib"]["end"] - over["memory_mib"]["start"],
                }
            )
            time.sleep(1)
    figure = {"times": TIMES, "load": machine.load(), **{key: spread([row[key] for row in found]) for key in found[0]}}
    setup.say(
        f"overload: goodput {figure['goodput']['median']:.0%} of capacity {figure['capacity']['median']:.0f}/s; refused within "
        f"{figure['refused_p50_ms']['median']:.1f} ms (p99 {figure['refused_p99_ms']['median']:.1f}); memory {figure['grown_mib']['median']:+.1f} MiB"
    )
    return figure
