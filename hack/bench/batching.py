"""The cloud's batching: 32 clients against the same server that takes one image at a time."""

from contextlib import ExitStack

from harness import machine, servers, wrk
from harness.setup import Setup
from server import CLIENTS, pixels, rounds, summary


def run(setup: Setup) -> dict[str, object]:
    if not wrk.is_here(setup):
        raise SystemExit("batching is not measured: see what is missing above")
    # As edges send them: bytes.
    requests = wrk.bodies(pixels(16), "UINT8")
    generator = wrk.Wrk(setup, "batching", requests)
    with ExitStack() as stack:
        up = {"batches of 32": stack.enter_context(servers.cloud(setup, "--max-batch", 32))}
        up["batches of 1"] = stack.enter_context(servers.cloud(setup, "--max-batch", 1))
        for server in up.values():
            server.first_answer(requests[0])
        found = rounds(setup, {name: (server, generator) for name, server in up.items()}, CLIENTS)
    figure = {"clients": CLIENTS, "load": machine.load(), **summary(found, "batches of 1")}
    setup.say(f"batching: {figure['ratio']['per_second']['median']:.2f} times the throughput of batches of 1")
    return figure
