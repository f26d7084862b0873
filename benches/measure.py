"""Runs a command and measures it from outside: wall time, CPU time of its whole process tree, and the largest sum of
resident memory of the tree (PSS, so that shared pages count once), sampled ten times a second. Bytes and seconds."""

import os
import subprocess
import sys
import time
from pathlib import Path


def tree(pid):
    pids, grown = [pid], True
    while grown:
        grown = False
        for p in list(pids):
            try:
                children = Path(f"/proc/{p}/task/{p}/children").read_text().split()
            except OSError:
                continue
            for child in map(int, children):
                if child not in pids:
                    pids.append(child)
                    grown = True
    return pids


def pss_bytes(pid):
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run(command, **kwargs):
    """Returns {"wall_seconds", "cpu_seconds", "peak_bytes", "stdout"}; stops the benchmark when the command fails."""
    start = time.monotonic()
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, **kwargs) as process:
        peak = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, sum(map(pss_bytes, tree(process.pid))))
            time.sleep(0.1)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return {
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": max(peak, usage.ru_maxrss * 1024),
        "stdout": stdout,
    }


def together(measured):
    """Commands that ran one after the other."""
    return {
        "wall_seconds": sum(m["wall_seconds"] for m in measured),
        "cpu_seconds": sum(m["cpu_seconds"] for m in measured),
        "peak_bytes": max(m["peak_bytes"] for m in measured),
    }
