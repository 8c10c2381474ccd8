"""Overload: five times as many images as a cloud tier can answer, whether it answers or not.

`meanet load` sends tensors in binary, at a rate, as a crowd does that does not wait for the others: requests of several images, which is how
edges send what has to wait, and of one, which costs a server the most. Capacity is what the server answers at a little more than it can;
goodput is what it answers in the overload. Both take turns, as one machine computes now faster, now slower. A refusal is an answer that says
"too busy".
"""

import json
import subprocess
import time

from harness import machine, servers, wrk
from harness.setup import Setup
from harness.stats import ratio, spread
from server import pixels
from standin import pack

TIMES = 5
# Rate at which capacity is measured, as a multiple of what the search found.
FULL = 1.1
# Where the search for capacity begins, in images a second, and how fast it climbs.
FIRST, CLIMB = 100, 1.4
# Seconds until it counts: a crowd connects once, and stays.
WARM_UP = 1
# Images in a request. An edge with enough to send puts up to 32 into one.
CROWDS = {"edges": 8, "single": 1}
# Requests under way at most.
CROWD = 4000


def storm(setup: Setup, server: servers.Server, batch: int, rate: float, seconds: float) -> dict:
    """What came back of `rate` images a second."""
    records, _ = pack(setup, 256)
    url = server.url.removesuffix("/infer")
    command = [setup.binary(), "load", "--url", url, "--images", records, "--rate", f"{rate / batch:.1f}", "--batch", batch, "--clients", CROWD]
    command += ["--transport", "http-binary", "--warm-up", WARM_UP, "--seconds", seconds, "--watch-pid", server.process.pid]
    output = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def answered(row: dict) -> float:
    """Images a second."""
    return row["images"] / row["seconds"]


def search(setup: Setup, server: servers.Server, batch: int, seconds: float) -> float:
    """The most images a second that the server answers, as the rate is raised."""
    rate, best = FIRST, 0.0
    while True:
        found = answered(storm(setup, server, batch, rate, seconds))
        best = max(best, found)
        if found < 0.85 * rate:
            return best
        rate *= CLIMB


def crowd(setup: Setup, server: servers.Server, batch: int) -> dict[str, object]:
    seconds = 3 if setup.quick else 8
    full, over = [], []
    can = search(setup, server, batch, 2)
    for _ in range(setup.rounds(4, 9)):
        full.append(storm(setup, server, batch, FULL * can, seconds))
        over.append(storm(setup, server, batch, TIMES * can, seconds))
        time.sleep(0.5)

    def of(figure) -> dict[str, float]:
        return spread([figure(row) for row in over])

    return {
        "batch": batch,
        "capacity": spread([answered(row) for row in full]),
        "goodput": ratio([answered(row) for row in over], [answered(row) for row in full]),
        "answered_p50_ms": of(lambda row: row["latency_ms"]["p50"]),
        "answered_p99_ms": of(lambda row: row["latency_ms"]["p99"]),
        "refused_per_second": of(lambda row: row["refused"] / row["seconds"]),
        "refused_p50_ms": of(lambda row: row["refused_latency_ms"]["p50"] or 0.0),
        "refused_p95_ms": of(lambda row: row["refused_latency_ms"]["p95"] or 0.0),
        "refused_p99_ms": of(lambda row: row["refused_latency_ms"]["p99"] or 0.0),
        "failed": of(lambda row: row["failures"] - row["refused"]),
        "unsent": of(lambda row: row["unsent"]),
        # At capacity the queue is full as well: what an overload adds must be nothing.
        "before_mib": spread([row["memory_mib"]["end"] for row in full]),
        "most_mib": of(lambda row: row["memory_mib"]["max"]),
    }


def run(setup: Setup) -> dict[str, object]:
    crowds = {}
    for name, batch in CROWDS.items():
        # Memory of one crowd's connections is none of the other's.
        with servers.cloud(setup) as server:
            server.first_answer(wrk.bodies(pixels(1), "UINT8")[0])
            figure = crowd(setup, server, batch)
        crowds[name] = figure
        setup.say(
            f"overload: {name}: goodput {figure['goodput']['median']:.0%} of capacity {figure['capacity']['median']:.0f} images/s; refused within "
            f"{figure['refused_p50_ms']['median']:.1f} ms (p99 {figure['refused_p99_ms']['median']:.1f}); memory {figure['before_mib']['median']:.0f} "
            f"to {figure['most_mib']['median']:.0f} MiB"
        )
    return {"times": TIMES, "load": machine.load(), "crowds": crowds}
