"""Processes that run one network when told to, and take turns at it.

A peer begins with one line of JSON about itself. `run N` is answered by nanoseconds a call, the mean over N calls; `logits` by the
logits of its batch. It ends with its standard input.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# A turn lasts about this long, so that clocks and starts do not matter, and a disturbance falls on all.
TURN = 0.05
# After a turn, threads of a pool may spin for a while, onnxruntime's for more than 10 ms; the next peer waits for that.
PAUSE = 0.1


class Peer:
    """One process, on the processors `cores`."""

    def __init__(self, command: Sequence[str], cores: Sequence[int], env: Mapping[str, str] | None = None):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.command, self.calls = command, 1
        self.about = json.loads(self.line())

    def line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.command))} ended with status {self.process.wait()}; its error is above")
        return line

    def ask(self, question: str) -> str:
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.line()

    def calibrate(self) -> None:
        """Finds how many calls make a turn."""
        one = min(int(self.ask("run 1")) for _ in range(3)) / 1e9
        self.calls = max(1, round(TURN / max(one, 1e-6)))

    def turn(self) -> float:
        """Seconds a call."""
        return int(self.ask(f"run {self.calls}")) / 1e9

    def logits(self) -> np.ndarray:
        return np.array(json.loads(self.ask("logits")), np.float32)

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def interleave(takers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Lets each take its turn, `rounds` times, in another order each time: what one leaves behind falls on all."""
    names, results = list(takers), {name: [] for name in takers}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            results[name].append(takers[name]())
            time.sleep(PAUSE)
    return results


def taking_turns(peers: Mapping[str, Peer], rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each peer, by round."""
    for peer in peers.values():
        peer.calibrate()
    return interleave({name: peer.turn for name, peer in peers.items()}, rounds)
