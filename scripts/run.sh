#!/usr/bin/env bash
# The demo: data/np_700.tsv through the whole workflow, as configs/pipeline.yaml says.
# usage: scripts/run.sh snakemake|drive
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${1:-}
case $engine in
  snakemake) scripts/setup.sh build workflow ;;
  drive) scripts/setup.sh build ;;
  *)
    echo "usage: scripts/run.sh snakemake|drive" >&2
    exit 2
    ;;
esac

if ! cargo build --locked --release --workspace --bins; then
  echo "run: the build failed; its messages are above" >&2
  exit 2
fi
export PATH=$PWD/target/release:$PATH

case $engine in
  snakemake)
    # Snakemake says of every single job that it selects and executes it; its progress lines say enough.
    report=results/report/transform_pipeline_report.json
    stamp() { stat -c '%i %Y %s' "$report" 2>/dev/null || echo none; }
    before=$(stamp)
    scripts/snakemake.sh --cores all --quiet rules host 2>&1 |
      grep --line-buffered -vE '^(Select jobs to execute|Execute [0-9]+ jobs|Finished jobid|\[... ... .* [0-9]{4}\]$)' >&2
    # The report is made last, and only when something was done: the same file as before means that nothing was.
    [ "$before" != "$(stamp)" ] || echo "nothing to do: all results are complete"
    ;;
  drive) halo-drive run --config configs/pipeline.yaml ;;
esac
halo-report --out-dir results/report --show
