"""The line protocol of peers: one line of JSON at the start; then `run N` is answered by nanoseconds a call, `logits` by logits."""

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", help="normalised floats, [batch, 3, 32, 32]")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variant", default="")
    return parser.parse_args()


def serve(run: Callable[[], np.ndarray], about: dict[str, object]) -> int:
    run()
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["run"]:
            count = int(words[1])
            began = time.perf_counter_ns()
            for _ in range(count):
                run()
            print((time.perf_counter_ns() - began) // count, flush=True)
        elif words == ["logits"]:
            print(json.dumps(run().tolist()), flush=True)
        else:
            return 0
    return 0
