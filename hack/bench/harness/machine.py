"""What the figures were taken on."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Callable


def about() -> dict[str, object]:
    """Processor, cores, system, and this checkout's commit."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "cpu": fields.get("model name", platform.machine()),
        "family": f"{fields.get('vendor_id', '')} family {fields.get('cpu family', '')} model {fields.get('model', '')}",
        "isa": [flag for flag in wanted if flag in flags],
        "cores": os.cpu_count(),
        "nice": os.nice(0),
        "real_time": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "commit": commit.stdout.strip(),
        "date": datetime.date.today().isoformat(),
    }


def load() -> float:
    """Processes that ran or wanted to, mean of the last minute."""
    return os.getloadavg()[0]


def resident(pid: int) -> dict[str, float]:
    """Resident memory now and at most of a process and its children, in MB (10⁶ bytes)."""
    total = {"resident_mb": 0.0, "peak_mb": 0.0}
    for process in [pid, *children(pid)]:
        try:
            status = pathlib.Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        for name, key in (("resident_mb", "VmRSS"), ("peak_mb", "VmHWM")):
            total[name] += int(fields.get(key, "0 kB").split()[0]) * 1024 / 1e6
    return total


def touched_by(pid: int, job: Callable[[], object]) -> float:
    """MB (10⁶ bytes) of the pages that a process and its children touch while `job` runs: what is resident besides can be taken from
    them without making them slower."""
    touched, processes = 0, [pid, *children(pid)]
    for process in processes:
        pathlib.Path(f"/proc/{process}/clear_refs").write_text("1")
    job()
    for process in processes:
        text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        touched += int(re.search(r"^Referenced:\s+(\d+) kB", text, re.MULTILINE)[1])
    return touched * 1024 / 1e6


def children(pid: int) -> list[int]:
    """All processes below a process."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found
