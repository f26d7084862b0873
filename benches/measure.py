"""Runs a command and measures it from outside: wall time, CPU time of its whole process tree, and the largest sum of
resident memory of the tree (PSS, so that shared pages count once), sampled ten times a second and more often at first;
with `disk`, also the largest sum of what it has on disk there. Bytes and seconds."""

import os
import stat
import subprocess
import sys
import threading
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


def proc_bytes(pid, file, key):
    """A line `key: N kB` of a file of /proc/PID; 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def pss_bytes(pid):
    return proc_bytes(pid, "smaps_rollup", "Pss:")


def peak_bytes(pid):
    """The kernel's own mark, which no sample can miss; `ru_maxrss` would start from the size of this process."""
    return proc_bytes(pid, "status", "VmHWM:")


def disk_bytes(folder, pids):
    """Of all files below `folder`, and of those files on its disk that a process has open and that have no name."""
    found, device = {}, os.stat(folder).st_dev
    paths = [path for path in Path(folder).rglob("*")]
    for pid in pids:
        try:
            paths += list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            pass
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        nameless = path.parts[1] == "proc" and status.st_nlink == 0
        if stat.S_ISREG(status.st_mode) and status.st_dev == device and (nameless or path.parts[1] != "proc"):
            found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def run(command, disk=None, **kwargs):
    """Returns {"wall_seconds", "cpu_seconds", "peak_bytes", "stdout"}, and "disk_bytes" when the folder `disk` is given;
    stops the benchmark when the command fails."""
    marks = {"sum": 0, "alone": 0, "disk": 0}
    ended = threading.Event()

    def watch(root):
        pause = 0.002
        while not ended.is_set():
            pids = tree(root)
            marks["sum"] = max(marks["sum"], sum(map(pss_bytes, pids)))
            marks["alone"] = max(marks["alone"], peak_bytes(root))
            if disk:
                marks["disk"] = max(marks["disk"], disk_bytes(disk, pids))
            ended.wait(pause)
            pause = min(2 * pause, 0.1)

    start = time.monotonic()
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, **kwargs) as process:
        # Beside the wait, so that a command of milliseconds is not measured in steps of the sampling.
        watcher = threading.Thread(target=watch, args=(process.pid,))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    measured = {
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": max(marks["sum"], marks["alone"]),
        "stdout": stdout,
    }
    if disk:
        measured["disk_bytes"] = max(marks["disk"], disk_bytes(disk, []))
    return measured


def together(measured):
    """Commands that ran one after the other."""
    return {
        "wall_seconds": sum(m["wall_seconds"] for m in measured),
        "cpu_seconds": sum(m["cpu_seconds"] for m in measured),
        "peak_bytes": max(m["peak_bytes"] for m in measured),
    }
