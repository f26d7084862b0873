"""Tests of adapt.py against the Snakemake that is installed."""

import asyncio
import contextlib
import inspect
import io
import unittest

import snakemake.api  # before its parts, which import each other

import adapt
from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.scheduling.job_scheduler import JobScheduler

METHODS = [(DAG, "check_output_mtime"), (DAG, "handle_log"), (Job, "remove_existing_output"), (JobScheduler, "exit_gracefully")]


async def removed(ends):
    """How many files of a job are tried when their removals end like that."""
    tried = []

    class File:
        def __init__(self, end):
            self.end = end

        async def remove(self, remove_non_empty_dir):
            tried.append(self)
            if self.end:
                raise self.end

    class OneJob:
        output = [File(end) for end in ends[:-1]]
        log = [File(ends[-1])]

    with contextlib.redirect_stderr(io.StringIO()):
        await adapt._remove_existing_output(OneJob)
    return len(tried)


class Adapt(unittest.TestCase):
    def test_the_methods_are_those_of_this_snakemake(self):
        before = [getattr(owner, name) for owner, name in METHODS]
        waits = [inspect.iscoroutinefunction(method) for method in before]
        self.assertEqual(waits, [True, True, True, False])
        try:
            adapt.adapt()
            for (owner, name), method in zip(METHODS, before):
                self.assertIsNot(getattr(owner, name), method, name)
        finally:
            for (owner, name), method in zip(METHODS, before):
                setattr(owner, name, method)

    def test_somebody_elses_folder_ends_no_run(self):
        def failing(error):
            async def handle(dag, job):
                raise error

            return adapt._handle_log(None, None, handle)

        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            asyncio.run(failing(PermissionError(13, "Permission denied", "results/x")))
        self.assertEqual(said.getvalue(), "halocline: results/x: Permission denied\n")
        self.assertEqual(asyncio.run(removed([FileNotFoundError(), None, PermissionError(13, "no", "x"), None])), 4)
        with self.assertRaises(ValueError):
            asyncio.run(failing(ValueError("a mistake")))


if __name__ == "__main__":
    unittest.main()
