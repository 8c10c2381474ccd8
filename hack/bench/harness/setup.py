"""What a run has at hand: programs, environments, folders, and how thorough it is."""

import dataclasses
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]


@dataclasses.dataclass
class Setup:
    """Settings of one run; `missing` gathers what was not there, for the page."""

    quick: bool
    work: pathlib.Path
    weights: pathlib.Path | None
    target: pathlib.Path
    cache: pathlib.Path
    missing: list[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def lacks(self, what: str) -> None:
        """Notes once what is not here and what to do about it."""
        if what not in self.missing:
            self.missing.append(what)
            self.say(f"missing: {what}")

    def rounds(self, quick: int, full: int) -> int:
        return quick if self.quick else full

    def thread_counts(self) -> list[int]:
        return [count for count in (1, 2) if count <= len(os.sched_getaffinity(0))]

    def cores(self, threads: int) -> list[int]:
        """The processors that all peers of `threads` threads get: the last ones."""
        return sorted(os.sched_getaffinity(0))[-threads:]

    def example(self, name: str) -> pathlib.Path:
        return self.target / "release/examples" / name

    def binary(self, name: str = "meanet") -> pathlib.Path:
        return self.target / "release" / name

    def python(self, peer: str) -> str | None:
        """The Python of a peer's environment; none where it cannot be made."""
        made = subprocess.run([ROOT / "hack/venv", ROOT / f"hack/bench/requirements/{peer}.txt"], stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode == 0:
            return made.stdout.strip()
        self.lacks(f"{peer}: its Python packages are not in the cache and could not be installed; give this machine a way to PyPI once")
        return None

    def peers(self) -> pathlib.Path | None:
        """The program of the Rust peers; none where it could not be built."""
        path = self.cache / "target-peers/release/peers"
        if path.exists():
            return path
        self.lacks("tract, rten, gemm: the program of hack/bench/peers is not built; give this machine a way to crates.io once")
        return None
