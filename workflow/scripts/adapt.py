"""Where Snakemake (the pinned version) would stop a run for what costs one job at most.

Responsible for four methods of Snakemake. Knows nothing of jobs or plans.
"""

import sys
import threading

from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.scheduling.job_scheduler import JobScheduler


def adapt():
    """Replaces the methods, once for this process."""
    DAG.check_output_mtime = _check_output_mtime
    DAG.handle_log = _handle_log
    Job.remove_existing_output = _remove_existing_output
    JobScheduler.exit_gracefully = _exit_gracefully


async def _check_output_mtime(dag, job, expanded_output):
    """Snakemake fails a job whose output is older than its input, `ancient` or not: by a clock that was put back, one that
    differs on another node, or a file with a time in the future. Here records decide, and no time stamp does."""


async def _remove_existing_output(job):
    """An output that cannot be removed (somebody else's folder) would end the whole run. The job meets it too, and says so.
    The others go: the record among them, or the job would count as complete."""
    for file in [*job.output, *job.log]:
        try:
            await file.remove(remove_non_empty_dir=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            _say(error)


async def _handle_log(dag, job, handle=DAG.handle_log):
    """So would a log that cannot be made."""
    try:
        await handle(dag, job)
    except OSError as error:
        _say(error)


def _say(error):
    print(f"halocline: {error.filename}: {error.strerror}", file=sys.stderr)


def _exit_gracefully(scheduler, *signal, stop=JobScheduler.exit_gracefully):
    """Snakemake's own handler of SIGTERM takes a lock that the code it interrupts may hold, and then waits for ever (the
    kill test met it). In a thread it waits until that code has let go."""
    threading.Thread(target=stop, args=(scheduler, *signal), daemon=True).start()
