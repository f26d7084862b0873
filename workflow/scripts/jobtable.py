"""The job table of `halo-drive plan`, as Snakemake's rules need it.

Responsible for finding halo-drive, passing it the configuration in use, and looking jobs up.
Knows nothing of Snakemake, so that it can be tested with plain Python.
"""

import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

# Keys of the configuration that speak to Snakemake alone. They come from a profile or `--config`.
ENGINE_KEYS = {"bin_dir", "mem_reserve_mb"}
# Steps whose outputs are results; the others only serve them.
RESULT_STEPS = ("merge_library", "merge", "validate", "report")

# What halo-drive says of a job of which there is nothing yet.
NEVER_DONE = "not done"
# How a program of ours that reads tables ends when it gives up by itself (crates/cli/src/run.rs).
GAVE_UP = re.compile(r"halo-(?!drive)[a-z-]+: (broken|error): ")
# How it says that a disk is full (crates/budget/src/publish.rs).
DISK_FULL = "no space left on the device"
# Where to look when a job was not even started.
NOT_OURS = "what Snakemake or the scheduler (sbatch) said is above"

# Values of a configuration; the largest that makes sense, with every library and column named, has some hundred.
MOST_VALUES = 10_000


class PlanError(Exception):
    """No job table can be had; the text says why and what to do."""


def find_bin_dir(config, root):
    """Folder of the halo-* binaries: configuration, environment, or the release build."""
    chosen = config.get("bin_dir") or os.environ.get("HALOCLINE_BIN")
    folder = Path(chosen) if chosen else Path(root) / "target" / "release"
    if not (folder / "halo-drive").is_file():
        raise PlanError(
            f"halo-drive is not in {folder}: run `make build`, or name the folder of the binaries "
            "with HALOCLINE_BIN or --config bin_dir=…"
        )
    folder = folder.absolute()
    if ":" in str(folder):
        raise PlanError(f"{folder} has a colon in its name, which PATH cannot hold: name a link to it, or move it")
    return folder


def pipeline_config(config):
    """The configuration without the keys that are Snakemake's own."""
    return {key: value for key, value in config.items() if key not in ENGINE_KEYS}


def config_file(config, path, parsed):
    """A file that holds the configuration in use.

    That is `path` itself when nothing was overridden (`parsed` is its content), else a copy of the
    merged configuration in the results folder, written whole and only when it has changed.
    """
    in_use = pipeline_config(config)
    if in_use == parsed:
        return str(path)
    copy = Path(str(in_use["results"])) / "work" / "pipeline.json"
    text = json.dumps(in_use, indent=1) + "\n"
    if not (copy.is_file() and copy.read_text() == text):
        copy.parent.mkdir(parents=True, exist_ok=True)
        beside = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
        beside.write_text(text)
        beside.replace(copy)
    return str(copy)


_held = []


def lock(table):
    """Takes the lock of the results folder until this process ends; halo-drive takes the same one (bins/drive/src/lock.rs).

    One run at a time, whichever the engine: the other would remove intermediates that this one still reads.
    """
    path, results = Path(table.lock), table.results
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not inherited by jobs: they may outlive this process for an instant.
        file = open(path, "a+")
    except OSError as error:
        if os.path.islink(results) and not os.path.exists(results):
            raise PlanError(f"{results} is a link to {os.readlink(results)}, which is not there") from None
        raise PlanError(f"{error.filename}: {error.strerror}") from None
    # `halo-drive status` holds it for an instant.
    for tries_left in reversed(range(20)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if tries_left == 0:
                file.seek(0)
                raise PlanError(f"another run is at work in {results}: {file.read()}; wait for its end, or stop it") from None
            time.sleep(0.01)
        except OSError as error:
            # On some network file systems; Snakemake's own lock is what is left.
            print(f"halocline: {path} cannot be locked: {error}", file=sys.stderr)
            break
    _held.append(file)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} (Snakemake)")
        file.flush()
    except OSError as error:
        # The lock is held; who holds it is for people only.
        print(f"halocline: {path}: {error.strerror}", file=sys.stderr)


def refuse_expansion(config):
    """Refuses a configuration whose aliases expand to more than anybody means: to check or to print it takes all memory."""
    values, count = [config], 0
    while values:
        value = values.pop()
        count += 1
        if count > MOST_VALUES:
            raise PlanError(f"the configuration has more than {MOST_VALUES:,} values; aliases count each time they are used")
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value


class JobTable:
    """Jobs by step and name."""

    def __init__(self, table, config="configs/pipeline.yaml"):
        self.config = config
        self.results = table["results"]
        # Lines for the user.
        self.not_in_plan = table.get("not_in_plan", "").splitlines()
        self.lock = table["lock"]
        self.jobs = {(job["step"], job["name"]): job for job in table["jobs"]}
        self.logs = {}
        self.by_id = {job["id"]: job for job in table["jobs"]}

    @classmethod
    def load(cls, bin_dir, config, settle):
        """Asks halo-drive. `settle`: let its records of completed jobs follow the plan."""
        more = ["--settle"] if settle else []
        done = halo_drive(bin_dir, "plan", "--config", config, *more, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise PlanError(done.stderr.strip() or f"`{shlex.join(done.args)}` ended with {done.returncode} and said nothing")
        return cls(json.loads(done.stdout), config)

    def job(self, step, name):
        try:
            return self.jobs[step, name]
        except KeyError:
            raise PlanError(f"the plan has no job {step}/{name}") from None

    def of(self, step):
        return [job for job in self.jobs.values() if job["step"] == step]

    def classes_to_make(self):
        """Classes that are halogenated here, in the order of the plan."""
        return list(dict.fromkeys(job["class"] for job in self.of("halogenate")))

    def record_files(self, jobs):
        return [record_file(self.results, job["id"]) for job in jobs]

    def reasons(self, most=20):
        """Why jobs that were done, or begun, before are run (again), one line each; no more than `most` of them."""
        again = [job for job in self.jobs.values() if job.get("runs") and job["why"] != NEVER_DONE]
        lines = [f"{job['id']}: {job['why']}" for job in again[:most]]
        if len(again) > most:
            lines.append(f"… and {len(again) - most} more; `halo-drive status --jobs` lists all")
        return lines

    def records_of_results(self):
        return self.record_files(job for job in self.jobs.values() if job["step"] in RESULT_STEPS)

    def note_logs(self):
        """Remembers the logs there are, as a run starts. (Their times are not compared with the clock of this machine.)"""
        self.logs = {job["log"]: stamp(job["log"]) for job in self.jobs.values()}

    def failures(self):
        """One line for each job that has written to its log since then and is not recorded as complete; then how many were
        not reached because of them."""
        open_jobs = [j for j in self.jobs.values() if not os.path.exists(record_file(self.results, j["id"]))]
        ran = [job for job in open_jobs if stamp(job["log"]) not in (None, self.logs.get(job["log"]))]
        failed = [(job, last_words(job["log"])) for job in ran]
        lines = [f"failed: {job['id']}: {words}; log: {job['log']}" for job, words in failed]
        waiting = len(open_jobs) - len(failed)
        if waiting and not failed:
            lines.append(f"no job left a log: {NOT_OURS}")
        elif waiting:
            lines.append(f"not done because of that: {waiting} jobs")
        # Digests of what is there are not compared here.
        if any(job.get("needs") and GAVE_UP.match(words) and DISK_FULL not in words for job, words in failed):
            check = shlex.join(["halo-drive", "run", "--config", self.config, "--checksums"])
            lines.append(
                f"a job that failed may have read what was damaged since it was made; `{check}` finds such files, and makes them again"
            )
        return lines

    def has_work(self):
        """Whether a job is to run."""
        return any(job.get("runs") for job in self.jobs.values())

    def release_leftovers(self, bin_dir):
        """Has halo-drive remove the shard tables that nothing needs any more and that are still there: their batch was made
        again for the sake of another table, or Snakemake was killed before a record's own removals. They cost disk only:
        that it cannot be done is said, and is no failure."""
        tickets = [job["release"] for job in self.jobs.values() if job["release"]]
        try:
            # (The lock is held at the end of a run, and not at a start without work.)
            halo_drive(bin_dir, "release", *(["--locked"] if _held else []), input="\n".join(tickets))
        except OSError as error:
            print(f"halocline: halo-drive cannot be started to remove what is no longer needed: {error}", file=sys.stderr)

    def refuse_in_vain(self, names, everything=False):
        """Refuses a forced run (`names`: of rules or files) that cannot end well.

        What complete jobs read may be gone, and only jobs that are not complete bring it back. Snakemake would remove the
        outputs of a forced job first.
        """
        files = {os.path.abspath(name) for name in names}
        jobs = [job for job in self.jobs.values() if everything or job["step"] in names or files & self.written_by(job)]
        forced = {job["id"] for job in jobs}
        for job in jobs:
            # The report reads what is there.
            if not is_complete(job) or job["step"] == "report":
                continue
            needs = [self.by_id[need] for need in job["needs"]]
            made_again = needs and all(need["id"] in forced and is_complete(need) for need in needs)
            gone = job["gone"]
            if gone and not made_again:
                output = next(iter(job["outputs"].values()))[0]
                raise PlanError(
                    f"{job['id']} cannot be forced: `{gone}`, which it reads, is not there any more (shard tables go when nothing "
                    "needs them), and only a job that is not complete brings it back; start without -R, -f and -F: what is "
                    f"missing is made again by itself, this job too once `{output}` is deleted"
                )

    def written_by(self, job):
        files = [path for paths in job["outputs"].values() for path in paths]
        return {os.path.abspath(path) for path in [*files, record_file(self.results, job["id"])]}

    def inputs(self, job):
        """Input files by role, with the records of the jobs that make them under `records`.

        A complete job names only those that exist: a missing one must not bring it back.
        """
        files = dict(job["inputs"])
        files["records"] = self.record_files(self.by_id[need] for need in job["needs"])
        if is_complete(job):
            files = {role: [p for p in paths if os.path.exists(p)] for role, paths in files.items()}
        return {role: paths for role, paths in files.items() if paths}


def halo_drive(bin_dir, *arguments, **streams):
    """Runs halo-drive to its end, which comes with that of this process."""
    command = [str(Path(bin_dir) / "halo-drive"), *arguments]
    env = {**os.environ, "HALOCLINE_BIN": str(bin_dir), "HALOCLINE_PARENT": str(os.getpid())}
    return subprocess.run(command, text=True, env=env, **streams)


def record_file(results, job_id):
    """Where halo-drive keeps the record that a job is complete."""
    return f"{results}/work/jobs/{job_id}.json"


def stamp(path):
    """What changes when a file is written to; nothing where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def last_words(path):
    """The last line of a log in which a program of ours says what happened, else its last line."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 4096))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError as error:
        return f"its log cannot be read: {error.strerror}"
    ours = [line for line in lines if line.startswith(("halo-", "halocline:"))]
    return (ours or lines or [f"it said nothing: {NOT_OURS}"])[-1]


def is_complete(job):
    return bool(job.get("complete"))


def command_line(job):
    """The command of a job, quoted for a shell."""
    return shlex.join(job["command"])
