"""Tests of jobtable.py: `python -m unittest discover workflow/scripts` (run by tests/tests/snakefile.rs)."""

import json
import os
import tempfile
import unittest
from pathlib import Path

import jobtable


def table(**changes):
    merge = {
        "id": "merge/a b",
        "step": "merge",
        "name": "a b",
        "class": "lipid",
        "needs": ["transform/x"],
        "inputs": {"manifests": ["/absent/manifest.json"], "rules": [__file__]},
        "command": ["halo-dedup-merge", "--out", "a b/products.parquet", "--text", "it's"],
        "complete": False,
    }
    merge.update(changes)
    batch = {"id": "transform/x", "step": "transform", "name": "x", "class": "lipid", "needs": [], "inputs": {}}
    made = {"id": "halogenate/y", "step": "halogenate", "name": "y", "class": "lipid", "needs": [], "inputs": {}}
    return jobtable.JobTable({"results": "r", "lock": "r/lock", "jobs": [made, batch, merge]})


class Lookups(unittest.TestCase):
    def test_jobs_are_found_by_step_and_name(self):
        self.assertEqual(table().job("merge", "a b")["id"], "merge/a b")
        with self.assertRaisesRegex(jobtable.PlanError, "no job merge/c"):
            table().job("merge", "c")

    def test_only_results_are_asked_for(self):
        self.assertEqual(table().records_of_results(), ["r/work/jobs/merge/a b.json"])

    def test_reasons_are_of_jobs_that_run_again(self):
        stale = {"runs": True, "why": "rule changed (1 -> 2)"}
        self.assertEqual(table(**stale).reasons(), ["merge/a b: rule changed (1 -> 2)"])
        for silent in ({**stale, "runs": False}, {**stale, "why": "not done"}, {}):
            self.assertEqual(table(**silent).reasons(), [])
        self.assertEqual(len(table(**stale).reasons(most=0)), 1)

    def test_classes_are_those_that_are_halogenated(self):
        self.assertEqual(table().classes_to_make(), ["lipid"])

    def test_commands_are_quoted_for_a_shell(self):
        line = jobtable.command_line(table().job("merge", "a b"))
        self.assertEqual(line, """halo-dedup-merge --out 'a b/products.parquet' --text 'it'"'"'s'""")

    def test_an_incomplete_job_names_all_inputs_and_the_records_of_its_needs(self):
        jobs = table()
        self.assertEqual(
            jobs.inputs(jobs.job("merge", "a b")),
            {
                "manifests": ["/absent/manifest.json"],
                "rules": [__file__],
                "records": ["r/work/jobs/transform/x.json"],
            },
        )

    def test_a_complete_job_names_only_inputs_that_exist(self):
        jobs = table(complete=True)
        self.assertEqual(jobs.inputs(jobs.job("merge", "a b")), {"rules": [__file__]})


class Failures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        jobs = [
            {"id": f"merge/{name}", "step": "merge", "name": name, "log": str(self.root / f"{name}.log")} for name in "abc"
        ]
        self.table = jobtable.JobTable({"results": str(self.root), "lock": "", "jobs": jobs})

    def say(self, name, text, when):
        log = self.root / f"{name}.log"
        log.write_text(text)
        os.utime(log, (when, when))

    def test_a_job_that_ran_and_is_not_recorded_has_failed(self):
        # As when sbatch is there and no cluster.
        self.assertEqual(self.table.failures(), [f"no job left a log: {jobtable.NOT_OURS}"])
        self.say("a", "", 100)
        self.assertIn(f"failed: merge/a: it said nothing: {jobtable.NOT_OURS}; log: ", self.table.failures()[0])
        self.say("a", "halo-x: error: no space\nhint: make some\n", 100)
        self.say("b", "of an earlier run, by a clock that was ahead\n", 10**10)
        self.table.note_logs()
        self.say("a", "halo-x: error: no space\nhint: make some\n", 101)
        self.say("c", "fine\n", 101)
        (self.root / "work/jobs/merge").mkdir(parents=True)
        (self.root / "work/jobs/merge/c.json").touch()
        self.assertEqual(
            self.table.failures(),
            [
                f"failed: merge/a: halo-x: error: no space; log: {self.root}/a.log",
                "not done because of that: 1 jobs",
            ],
        )

    def test_what_reads_files_of_others_may_have_read_damage(self):
        for needs, text, hint in (
            (["x"], "halo-x: error: bad page\n", True),
            (["x"], "halo-x-y: broken: row 3\nhint: none\n", True),
            (["x"], "halo-x: error: e\nhalocline: halo-x: killed by signal 9: by somebody\n", False),
            (["x"], "halo-drive: error: cannot be recorded\n", False),
            (["x"], "halo-x: error: no space left on the device for `a`: 4 KiB written\n", False),
            (["x"], "", False),
            ([], "halo-x: error: bad page\n", False),
        ):
            self.table.job("merge", "a")["needs"] = needs
            self.say("a", text, 100)
            lines = [line for line in self.table.failures() if "--checksums" in line]
            self.assertEqual(len(lines), hint, (needs, text))
            for line in lines:
                self.assertIn("a job that failed may have read what was damaged", line)

    def test_the_last_words_of_a_log(self):
        for text, words in (
            ("halo-x: broken: row 3\n  detail\n\n", "halo-x: broken: row 3"),
            ("halo-x: a\nhalocline: killed\n", "halocline: killed"),
            ("Traceback\nKilled\n", "Killed"),
            ("", f"it said nothing: {jobtable.NOT_OURS}"),
            ("x" * 9000 + "\nlast\n", "last"),
        ):
            self.say("a", text, 1)
            self.assertEqual(jobtable.last_words(self.root / "a.log"), words)


class Expansion(unittest.TestCase):
    def test_aliases_count_each_time(self):
        value = ["x"] * 9
        jobtable.refuse_expansion({"a": value, "b": {"c": value}})
        for _ in range(9):
            value = [value] * 9
        with self.assertRaisesRegex(jobtable.PlanError, "more than 10,000 values"):
            jobtable.refuse_expansion({"a": {"b": value}})


class Configuration(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.results = str(Path(self.folder.name) / "results")

    def test_a_file_that_was_not_overridden_is_used_itself(self):
        parsed = {"results": self.results, "depths": [1]}
        config = {**parsed, "bin_dir": "x", "mem_reserve_mb": 300}
        self.assertEqual(jobtable.config_file(config, "p.yaml", parsed), "p.yaml")
        self.assertFalse(os.path.exists(self.results))

    def test_an_overridden_configuration_is_written_once(self):
        config = {"results": self.results, "depths": [2], "bin_dir": "x"}
        path = Path(jobtable.config_file(config, "p.yaml", {"results": self.results, "depths": [1]}))
        self.assertEqual(json.loads(path.read_text()), {"results": self.results, "depths": [2]})
        before = path.stat().st_ino
        jobtable.config_file(config, "p.yaml", {})
        self.assertEqual(path.stat().st_ino, before)
        self.assertEqual(os.listdir(path.parent), [path.name])

    def test_the_folder_of_binaries(self):
        folder = Path(self.folder.name)
        (folder / "halo-drive").touch()
        self.assertEqual(jobtable.find_bin_dir({"bin_dir": str(folder)}, "/nowhere"), folder)
        os.environ.pop("HALOCLINE_BIN", None)
        with self.assertRaisesRegex(jobtable.PlanError, "run `make build`"):
            jobtable.find_bin_dir({}, "/nowhere")


if __name__ == "__main__":
    unittest.main()
