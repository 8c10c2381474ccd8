"""Overload: five times as many requests as a cloud tier can answer, whether it answers or not.

`meanet load` sends what edges send, tensors in binary, at a rate, as a crowd does that does not wait for the others. Capacity is what the
server answers at a little more than it can; goodput is what it answers in the overload. Both take turns, as one machine computes now faster,
now slower. A refusal is an answer that says "too busy".
"""

import json
import subprocess
import time

from harness import machine, servers
from harness.setup import Setup
from harness.stats import ratio, spread
from standin import pack

TIMES = 5
# Rate at which capacity is measured, as a multiple of what the search found.
FULL = 1.1
# Where the search for capacity begins, in requests a second, and how fast it climbs.
FIRST, CLIMB = 100, 1.4
# Requests under way at most.
CROWD = 4000


def storm(setup: Setup, server: servers.Server, rate: float, seconds: float) -> dict:
    """What came back of `rate` requests a second."""
    records, _ = pack(setup, 256)
    url = server.url.removesuffix("/infer")
    command = [setup.binary(), "load", "--url", url, "--images", records, "--rate", f"{rate:.1f}", "--clients", CROWD]
    command += ["--transport", "http-binary", "--seconds", seconds, "--watch-pid", server.process.pid]
    output = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def search(setup: Setup, server: servers.Server, seconds: float) -> float:
    """The most requests a second that the server answers, as the rate is raised."""
    rate, best = FIRST, 0.0
    while True:
        answered = storm(setup, server, rate, seconds)["requests_per_second"]
        best = max(best, answered)
        if answered < 0.85 * rate:
            return best
        rate *= CLIMB


def run(setup: Setup) -> dict[str, object]:
    seconds = 3 if setup.quick else 8
    full, over = [], []
    with servers.cloud(setup) as server:
        pixels = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 3, 32, 32], "data": [128] * 3072}]})
        server.first_answer(pixels.encode())
        can = search(setup, server, 2)
        for _ in range(setup.rounds(4, 9)):
            full.append(storm(setup, server, FULL * can, seconds))
            over.append(storm(setup, server, TIMES * can, seconds))
            time.sleep(0.5)

    def per_second(rows: list[dict]) -> list[float]:
        return [row["requests_per_second"] for row in rows]

    def of(figure) -> dict[str, float]:
        return spread([figure(row) for row in over])

    figure = {
        "times": TIMES,
        "load": machine.load(),
        "capacity": spread(per_second(full)),
        "goodput": ratio(per_second(over), per_second(full)),
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
    setup.say(
        f"overload: goodput {figure['goodput']['median']:.0%} of capacity {figure['capacity']['median']:.0f}/s; refused within "
        f"{figure['refused_p50_ms']['median']:.1f} ms (p99 {figure['refused_p99_ms']['median']:.1f}); memory {figure['before_mib']['median']:.0f} "
        f"to {figure['most_mib']['median']:.0f} MiB"
    )
    return figure
