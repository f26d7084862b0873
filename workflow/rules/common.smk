# The configuration, the job table, and functions that look jobs up in it.
#
# halo-drive decides what is complete (fingerprints of rules and inputs, sizes, checksums) and keeps
# a record per completed job. Here the record is an output like any other: it is written last, and
# `plan --settle` sets aside the records that no longer hold, so a missing record is what makes a
# job run, and the jobs that need it. All inputs are `ancient`: no time stamp decides anything.
# Shard tables are no outputs, so none is `temp()`: `halo-drive record` removes those that nothing needs
# any more (`releases` in the plan), under both engines alike, and a run has `halo-drive release` remove those that are left.
import shlex
import shutil
import subprocess
import sys

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

import adapt
import jobtable

try:
    jobtable.refuse_expansion(config)
except jobtable.PlanError as error:
    raise WorkflowError(str(error)) from None
validate(config, str(Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"))


def load_plan():
    """Folder of the binaries, and the job table of the configuration in use."""
    try:
        bin_dir = jobtable.find_bin_dir(config, workflow.basedir)
        source = workflow.overwrite_configfiles or ["configs/pipeline.yaml"]
        parsed = yaml.safe_load(Path(source[0]).read_text(encoding="utf-8"))
        in_use = jobtable.config_file(config, source[0], parsed)
        # A job on a cluster reads the plan for itself; only the main process may settle records.
        table = jobtable.JobTable.load(bin_dir, in_use, settle=workflow.is_main_process)
    except (jobtable.PlanError, OSError) as error:
        raise WorkflowError(str(error)) from None
    return bin_dir, table


adapt.adapt()
BIN_DIR, PLAN = load_plan()
if workflow.is_main_process:
    PLAN.note_logs()
    if not (workflow.output_settings.dryrun or PLAN.has_work()):
        # No hook is told when there is nothing to do.
        PLAN.release_leftovers(BIN_DIR)
for reason in PLAN.reasons():
    print(f"again: {reason}", file=sys.stderr)
for line in PLAN.not_in_plan:
    print(line, file=sys.stderr)
R = PLAN.results
RECORDS = f"{R}/work/jobs"
CLASSES_TO_MAKE = PLAN.classes_to_make()
MEM_RESERVE_MB = int(config.get("mem_reserve_mb", 0))


def quoted(path):
    """For the shell, in a text that Snakemake fills in."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


# The binaries carry the prefix halo-, so nothing else on PATH is shadowed.
shell.prefix(f"set -euo pipefail; export PATH={quoted(BIN_DIR)}:$PATH; ")

# What every job runs: its own command line, then the record that it is complete. The kernel ends it when this process
# ends, however it ends; without `setpriv` (util-linux) a job may outlive a Snakemake that was killed, and then writes
# the same bytes, whole, under the same names.
FOLLOW = "setpriv --pdeathsig KILL" if shutil.which("setpriv") else ""
JOB = Path(workflow.basedir) / "workflow/scripts/job.sh"
RUN = (
    f"exec {FOLLOW} bash {quoted(JOB)} {{log:q}} {{params.record:q}} {{params.command}}"
)


onstart:
    # Not in a dry run; and a job on a cluster, which is a Snakemake too, must not wait for the one that started it.
    if workflow.is_main_process:
        # -R names rules and files; so do the targets with -f, and -F forces everything.
        settings = workflow.dag_settings
        forced = set(settings.forcerun)
        if settings.forcetargets:
            forced |= set(settings.targets)
        try:
            if forced or settings.forceall:
                # The plan anew: tables that were there when it was made may have been released since.
                load_plan()[1].refuse_in_vain(forced, everything=settings.forceall)
            jobtable.lock(PLAN)
        except jobtable.PlanError as error:
            raise WorkflowError(str(error)) from None


wildcard_constraints:
    name=r"[A-Za-z0-9_.\-/]+",


def records_of_results(wildcards):
    return PLAN.records_of_results()


def job_of(step, wildcards):
    """The job a rule is asked for. The two rules with a single job have no wildcard."""
    single = {"split_input": "input", "report": "report"}
    return PLAN.job(step, single.get(step) or wildcards.name)


def inputs_of(step):
    """Input function of a step: the job's files by role, and the records of the jobs it needs."""

    def inputs(wildcards):
        files = PLAN.inputs(job_of(step, wildcards))
        return {role: ancient(paths) for role, paths in files.items()}

    return inputs


def command_of(step):
    """Command line of a job. `output` marks it as derived: limits in it do not trigger the job."""

    def command(wildcards, output):
        return jobtable.command_line(job_of(step, wildcards))

    return command


def record_of(step):
    """What halo-drive is to record. `output` marks it as derived."""

    def record(wildcards, output):
        return job_of(step, wildcards).get("record", "")

    return record


def threads_of(step):
    def threads(wildcards):
        return job_of(step, wildcards)["threads"]

    return threads


def mem_mb_of(step):
    """The command's own limit, rounded up, plus what the engine needs beside it (SLURM)."""

    def mem_mb(wildcards):
        return job_of(step, wildcards)["mem_mb"] + MEM_RESERVE_MB

    return mem_mb


def runtime_of(step):
    def runtime(wildcards):
        return job_of(step, wildcards)["runtime_minutes"]

    return runtime


def disk_mb_of(step):
    def disk_mb(wildcards):
        return job_of(step, wildcards)["disk_mb"]

    return disk_mb
