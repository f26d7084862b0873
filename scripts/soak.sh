#!/usr/bin/env bash
# The users' case, scaled: all 68,000 natural products through 1X and every rule in scope, unattended, on 2 cores and
# 2 GiB for everything together. Prints time, totals and the largest peak memory. About an hour of CPU time.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build
cargo build --locked --release --workspace --bins --quiet
place=$PWD/target/soak
rm -rf "$place"
mkdir -p "$place"
# The demo's configuration with the large table, 1X only, shards of about a minute, and a place of its own.
sed -e 's#path: data/np_700.tsv#path: data/np_68k.tsv.gz#' \
  -e "s#^results: results#results: $place/results#" \
  -e 's#^depths: \[1, 2\]#depths: [1]#' \
  -e 's#^  shards: 2 .*#  shards: 8#' -e 's#^  shards: 2$#  shards: 8#' \
  -e 's#memory: 512MiB#memory: 768MiB#' configs/pipeline.yaml >"$place/pipeline.yaml"
start=$(date +%s)
target/release/halo-drive run --config "$place/pipeline.yaml" --cores 2 --memory 2GiB
echo "wall time: $(($(date +%s) - start)) s, results: $(du -sh "$place/results" | cut -f1)"
target/release/halo-report --config "$place/pipeline.yaml" --show
