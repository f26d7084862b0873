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
            async def method(self):
                raise error

            return adapt._going_on(method)

        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            asyncio.run(failing(PermissionError(13, "Permission denied", "results/x"))(None))
        self.assertEqual(said.getvalue(), "halocline: results/x: Permission denied\n")
        with self.assertRaises(ValueError):
            asyncio.run(failing(ValueError("a mistake"))(None))


if __name__ == "__main__":
    unittest.main()
