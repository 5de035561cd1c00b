"""What a benchmark must know of the machine: its facts, its cores, its disk, and the CPU time of a process."""

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

_APPENDS = 200
_APPEND_BYTES = 4096
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """Which core the servers run on, and which the load; the same one twice if there is no other."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process, in all its threads, so far (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def sync_milliseconds(directory: Path) -> float:
    """Median time of an fdatasync after an append of 4 KB to a file there."""
    path = directory / "appended"
    block = bytes(_APPEND_BYTES)
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_APPENDS):
            file.write(block)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000


def processor_ticks() -> list[int]:
    """What all cores together have done so far, by kind (proc(5): /proc/stat)."""
    return [int(field) for field in _lines("/proc/stat")[0].split()[1:9]]


def stolen_since(began: list[int]) -> float:
    """Share of the time since then in which the host of this virtual machine ran something else on our cores."""
    passed = [now - then for then, now in zip(began, processor_ticks(), strict=True)]
    return passed[7] / max(sum(passed), 1)


def facts() -> dict[str, str]:
    """Name the machine, as far as figures depend on it."""
    model = [line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    server_core, load_core = cores()
    return {
        "CPU": f"{os.cpu_count()} x {model[0] if model else platform.processor()}",
        "memory": f"{int(memory) / 2**20:.1f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "server, load": f"cores {server_core}, {load_core}" if server_core != load_core else "both on the only core",
        "wrk": subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split(" Copy")[0],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
