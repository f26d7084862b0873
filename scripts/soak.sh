#!/usr/bin/env bash
# The users' case, scaled: all 68,000 natural products through 1X and every rule in scope, unattended, on 2 cores and
# 2 GiB for everything together. The engine and all its jobs run in one memory cgroup of 2 GiB where one can be made, so
# that the total is enforced and not only added up. Prints time, totals, products per second and the peak.
#
# usage: scripts/soak.sh [CLASS...]      only these classes
#   HALOCLINE_SOAK_BIN=DIR   use these binaries; without it the release build, brought up to date
#   HALOCLINE_SOAK_DIR=DIR   results go here; default target/soak, which is emptied first
set -euo pipefail
cd "$(dirname "$0")/.."
total_bytes=$((2 << 30))
if [ -z "${HALOCLINE_SOAK_BIN:-}" ]; then
  scripts/setup.sh build
  cargo build --locked --release --workspace --bins --quiet
fi
bin=${HALOCLINE_SOAK_BIN:-$PWD/target/release}
place=${HALOCLINE_SOAK_DIR:-$PWD/target/soak}
rm -rf "$place"
mkdir -p "$place"

# The demo's configuration with the large table, 1X only, shards of about a minute, and a place of its own. Two jobs of
# 768 MiB run beside each other; what is left of the 2 GiB is for halo-drive and the page cache.
sed -e 's#path: data/np_700.tsv#path: data/np_68k.tsv.gz#' \
  -e "s#^results: results#results: $place/results#" \
  -e 's#^depths: \[1, 2\]#depths: [1]#' \
  -e 's#^  shards: 2 .*#  shards: 8#' -e 's#^  shards: 2$#  shards: 8#' \
  -e 's#memory: 512MiB#memory: 768MiB#' configs/pipeline.yaml >"$place/pipeline.yaml"
if [ $# -gt 0 ]; then
  classes=$(IFS=,; echo "$*")
  sed -i "s#^classes: .*#classes: [${classes//,/, }]#" "$place/pipeline.yaml"
fi

# A memory cgroup below our own (version 1 or 2); `group` stays empty where that is not allowed.
group='' version=''
own() { sed -n "$1" /proc/self/cgroup; }
name=halocline-soak-$$
v1=/sys/fs/cgroup/memory$(own 's/^[0-9]*:\([^:]*,\)\{0,1\}memory\(,[^:]*\)\{0,1\}:\(.*\)/\3/p')
v2=/sys/fs/cgroup$(own 's/^0:://p')
if [ -d "${v1%/}" ] && mkdir "${v1%/}/$name" 2>/dev/null; then
  group=${v1%/}/$name version=1
  echo "$total_bytes" >"$group/memory.limit_in_bytes"
elif mkdir "${v2%/}/$name" 2>/dev/null; then
  group=${v2%/}/$name version=2
  if ! { echo "$total_bytes" >"$group/memory.max" && echo 0 >"$group/memory.swap.max"; } 2>/dev/null; then
    rmdir "$group"
    group=''
  fi
fi
if [ -n "$group" ]; then
  echo "the whole run is in a memory cgroup (version $version) of 2 GiB: $group"
else
  echo "no memory cgroup can be made here: the jobs' own limits, which add up to less than 2 GiB, are all that holds"
fi

# What the processes hold, page cache apart: a cgroup's own peak counts every page of every file read, up to its limit.
held() {
  case $version in
    1) awk '$1 == "total_rss" { print $2 }' "$group/memory.stat" ;;
    2) awk '$1 == "anon" { print $2 }' "$group/memory.stat" ;;
  esac
}
killed() {
  case $version in
    1) awk '$1 == "oom_kill" { print $2 }' "$group/memory.oom_control" ;;
    2) awk '$1 == "oom_kill" { print $2 }' "$group/memory.events" ;;
  esac
}
sampler=''
clean() {
  [ -z "$sampler" ] || kill "$sampler" 2>/dev/null || true
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
}
trap clean EXIT
if [ -n "$group" ]; then
  (
    peak=0
    while sleep 0.5; do
      now=$(held)
      if [ "$now" -gt "$peak" ]; then
        peak=$now
        echo "$peak" >"$place/peak_bytes"
      fi
    done
  ) &
  sampler=$!
fi

# No number of a cgroup to enter: one process, then replaced by halo-drive, whose children inherit it.
start=$(date +%s.%N)
status=0
(
  [ -z "$group" ] || echo "$BASHPID" >"$group/cgroup.procs"
  exec "$bin/halo-drive" run --config "$place/pipeline.yaml" --cores 2 --memory 1792MiB
) || status=$?
seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')

"$bin/halo-report" --config "$place/pipeline.yaml" --show
total() { sed -n "/\"totals\"/,/}/s/^ *\"$1\": \([0-9.]*\),*$/\1/p" "$place/results/report/transform_pipeline_report.json"; }
products=$(total total_products)
echo "wall time: $seconds s on 2 cores; $products products, $(total unique_products) unique:" \
  "$(awk -v n="$products" -v s="$seconds" 'BEGIN { printf "%.0f", n / s }') products/s from text to validated tables"
echo "results: $(du -sh "$place/results" | cut -f1), of which intermediates $(du -sh "$place/results/work" | cut -f1)"
if [ -n "$group" ]; then
  echo "peak of all processes together: $(($(cat "$place/peak_bytes") >> 20)) MiB of 2048;" \
    "processes killed for memory: $(killed)"
  [ "$(killed)" = 0 ] || status=1
else
  echo "peak of the largest process: $(($(total peak_rss_bytes) >> 20)) MiB"
fi
exit "$status"
