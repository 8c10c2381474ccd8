"""Overload: five times as many requests as a cloud tier can answer, whether it answers or not.

`storm` sends on a schedule, as a crowd does that does not wait for the others. Capacity is what the server answers to a storm just
above what it can do, measured right before; goodput is what it answers well in the overload. A refusal is a status 429 or 503.
"""

import json
import subprocess
import time

from harness import machine, servers, wrk
from harness.setup import Setup
from harness.stats import spread
from server import pixels

TIMES = 5
# Where the search for capacity begins, in requests a second.
FIRST = 50


def storm(setup: Setup, server: servers.Server, rate: float, seconds: float) -> dict[str, float]:
    command = [setup.cache / "target-peers/release/storm", f"127.0.0.1:{server.port}", server.path, setup.work / "body-overload.1", f"{rate:.1f}", f"{seconds:.1f}"]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)


def capacity(setup: Setup, server: servers.Server, seconds: float) -> float:
    """Requests a second that the server answers well when it gets a fifth more."""
    rate, answered = FIRST, 0.0
    while True:
        found = storm(setup, server, rate, seconds)
        answered = max(answered, found["ok_per_second"])
        if found["ok_per_second"] < 0.9 * rate:
            return answered
        rate *= 1.5


def run(setup: Setup) -> dict[str, object]:
    if not setup.peers():
        raise SystemExit("overload is not measured: see what is missing above")
    wrk.Wrk(setup, "overload", wrk.bodies(pixels(1), "UINT8"))
    seconds = 3 if setup.quick else 8
    found = []
    with servers.cloud(setup) as server:
        server.first_answer((setup.work / "body-overload.1").read_bytes())
        for _ in range(setup.rounds(3, 5)):
            can = capacity(setup, server, min(seconds, 3))
            before = machine.resident(server.process.pid)["resident_mb"]
            over = storm(setup, server, TIMES * can, seconds)
            after = machine.resident(server.process.pid)["resident_mb"]
            found.append({"capacity": can, "before_mb": before, "after_mb": after, **over})
            time.sleep(1)
    columns = {key: [row[key] for row in found] for key in found[0]}
    figure = {
        "times": TIMES,
        "load": machine.load(),
        "goodput": spread([row["ok_per_second"] / row["capacity"] for row in found]),
        "grown_mb": spread([row["after_mb"] - row["before_mb"] for row in found]),
        **{key: spread(values) for key, values in columns.items()},
    }
    setup.say(
        f"overload: goodput {figure['goodput']['median']:.0%} of capacity {figure['capacity']['median']:.0f}/s; "
        f"refused within {figure['refused_p50_ms']['median']:.1f} ms (p99 {figure['refused_p99_ms']['median']:.1f}); memory {figure['grown_mb']['median']:+.1f} MB"
    )
    return figure
