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

if ! cargo build --locked --release --workspace --bins --quiet; then
  echo "run: the build failed; its messages are above" >&2
  exit 2
fi
export PATH=$PWD/target/release:$PATH

# The report is written last, and only when something was done: a report that is the same file as before means that
# nothing was.
report=results/report/transform_pipeline_report.json
stamp() { stat -c '%i %Y %s' "$report" 2>/dev/null || echo none; }
before=$(stamp)
case $engine in
  snakemake) scripts/snakemake.sh --cores all --quiet rules progress ;;
  drive) halo-drive run --config configs/pipeline.yaml ;;
esac
[ "$before" != "$(stamp)" ] || echo "nothing to do: all results are complete"
halo-report --out-dir results/report --show
