# The only entry of the workflow: what it needs, what it is made of, what it makes.
# Which jobs there are comes from `halo-drive plan`; see workflow/rules/common.smk.
from snakemake.utils import min_version

min_version("9.0")


# A configuration that is named is the whole of it; Snakemake would fill its gaps from this one.
if not workflow.overwrite_configfiles:

    configfile: "configs/pipeline.yaml"


# Inert unless run with `--sdm apptainer`: the tools are the binaries of this repository.
container: "docker://debian:bookworm-slim"


include: "workflow/rules/common.smk"
include: "workflow/rules/library.smk"
include: "workflow/rules/transform.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        records_of_results,
