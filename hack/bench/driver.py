"""Runs benchmarks and writes what they found: a JSON file, and a page made of it.

    make bench                                   all of them, thoroughly, into docs/performance.json and .md
    make bench QUICK=1                           all of them in minutes, into the cache
    make bench ONLY=engine,server                some of them; the others' figures stay as they are
    MEANET_BENCH_WEIGHTS=FOLDER make bench       with trained weights (safetensors of PyTorch's names) instead of random ones
"""

import argparse
import json
import os
import pathlib
import tempfile
import time
import traceback

import batching
import engine
import exits
import int8
import overload
import server
import standin
import training
from harness import machine, page
from harness.setup import ROOT, Setup
from harness.stats import rounded

BENCHMARKS = {
    "engine": engine.run,
    "int8": int8.run,
    "exits": exits.run,
    "training": training.run,
    "server": server.run,
    "batching": batching.run,
    "overload": overload.run,
    "standin": standin.run,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", default="", help=f"names, by commas, of {', '.join(BENCHMARKS)}")
    parser.add_argument("--out", type=pathlib.Path, help="folder of performance.json and performance.md")
    parser.add_argument("--page", action="store_true", help="measure nothing; make the page anew of the JSON file")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    cache = pathlib.Path(os.environ["MEANET_CACHE"])
    out = args.out or (cache / "bench" if args.quick else ROOT / "docs")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "performance.json"
    results = json.loads(path.read_text()) if path.exists() else {"benchmarks": {}}
    if not args.page:
        names = [name for name in args.only.split(",") if name] or list(BENCHMARKS)
        if unknown := set(names) - set(BENCHMARKS):
            raise SystemExit(f"failed to start: there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        failed = measure(args, cache, names, results)
        path.write_text(json.dumps(rounded(results), indent=1) + "\n")
    page.write(results, out)
    print(f"{path}\n{out / 'performance.md'}")
    if not args.page and failed:
        raise SystemExit(f"failed: {', '.join(failed)}; their figures are those of an earlier run, or none")


def measure(args: argparse.Namespace, cache: pathlib.Path, names: list[str], results: dict) -> list[str]:
    """Runs the benchmarks `names` into `results`; gives those that failed."""
    failed = []
    weights = os.environ.get("MEANET_BENCH_WEIGHTS")
    with tempfile.TemporaryDirectory(prefix="meanet-bench-") as work:
        for name in names:
            setup = Setup(
                quick=args.quick,
                work=pathlib.Path(work),
                weights=pathlib.Path(weights) if weights else None,
                target=pathlib.Path(os.environ["CARGO_TARGET_DIR"]),
                cache=cache,
            )
            setup.say(f"== {name}")
            began, load = time.monotonic(), machine.load()
            try:
                found = BENCHMARKS[name](setup)
            except (Exception, SystemExit) as error:  # the others go on
                traceback.print_exc()
                setup.say(f"{name} failed: {error}")
                failed.append(name)
                continue
            results["benchmarks"][name] = {
                "machine": machine.about(),
                "mode": "quick" if args.quick else "full",
                "load_before": load,
                "load_after": machine.load(),
                "seconds": time.monotonic() - began,
                "missing": setup.missing,
                **found,
            }
    return failed


if __name__ == "__main__":
    main()
