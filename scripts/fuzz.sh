#!/usr/bin/env bash
# Builds and runs the fuzz targets of fuzz/. What it makes lies in target: seeds (made anew from files of this checkout),
# corpora, logs, and the inputs that failed in target/fuzz.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET...]]
#   without SECONDS (`make test`): a fixed number of inputs of each target, from the seeds alone and always with the same
#     random numbers; about ten seconds each. Coverage is counted in this workspace's crates; the outside ones are those
#     the tests were built with.
#   SECONDS: so long for each target, going on from the corpus of earlier runs. cargo-fuzz builds everything with
#     coverage, the decoders of Parquet, YAML and JSON too: about ten minutes of one core, once.
# Two targets run beside each other. Exit code 1 when an input failed; 2 when a target could not be built or started.
#
# No sanitizer: they need a nightly compiler and do not go with mimalloc's override. The code under test is safe Rust, built
# here with overflow checks and debug assertions; the targets bound memory themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$root/target/fuzz

die() { printf 'fuzz: %s\n' "$*" >&2; exit 2; }

seconds=${1:-short}
[ $# -gt 0 ] && shift
[[ $seconds == short || $seconds =~ ^[1-9][0-9]*$ ]] || die "\`$seconds\` is no number of seconds"
mapfile -t all < <(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [ -e "fuzz/fuzz_targets/$target.rs" ] || die "no target \`$target\`; there are ${all[*]}"
done

scripts/setup.sh build test
if [ "$seconds" = short ]; then
  binaries=$root/target/debug
  # The whole workspace is named, so that the outside crates have the features that the tests have, and are not built again.
  RUSTC_WORKSPACE_WRAPPER=$root/fuzz/instrument cargo build --quiet --locked --workspace "${all[@]/#/--bin=}" \
    --features halocline-fuzz/targets || die "the targets do not build"
else
  scripts/setup.sh fuzz
  host=$(rustc -vV | sed -n 's/^host: //p')
  binaries=$work/build/$host/debug
  # cargo-fuzz has no --locked: a lock file that is behind is an error here, as everywhere else.
  cargo metadata --format-version 1 --locked >/dev/null || die "Cargo.lock is behind"
  # `cfg(fuzzing)` is off: what is tested is what is shipped.
  PATH=$root/target/tools/bin:$PATH cargo fuzz build --dev --sanitizer none --no-cfg-fuzzing --features targets \
    --target-dir "$work/build" || die "the targets do not build"
fi
# The programs whose output is the seed of plan, sidecar and library.
cargo build --quiet --locked --workspace --bins

# Real files, small: mutations of a small file reach further in the same time.
make_seeds() {
  local seeds=$work/seeds made=$work/made bin=$root/target/debug rows=$root/data/np_700.tsv file refused=0
  rm -rf "$seeds" "$made"
  mkdir -p "$made" && for target in "${all[@]}"; do mkdir -p "$seeds/$target"; done
  head -9 "$rows" >"$made/rows.tsv"
  "$bin/halo-split" -qq --shards 3 --out-dir "$made/split" "$made/rows.tsv"
  "$bin/halo-dedup-merge" -qq --out "$made/merged.parquet" "$made/split/library.parquet"
  (cd "$made" && "$root/.venv-test/bin/python" "$root/fuzz/foreign.py" "$seeds/library")

  cp configs/halogens.yaml configs/transforms.yaml "$seeds/rules"
  for file in tests/cases/*/rules.yaml; do cp "$file" "$seeds/rules/$(basename "$(dirname "$file")").yaml"; done
  printf 'transforms:\n- {name: A, scope_classes: [x], smirks: "[c:1]O>>[c:1]N"}\n' >"$seeds/rules/one.yaml"
  printf 'halogens: [F]\nreactions:\n- {name: AX, smirks: "[c:1]>>[c:1]X"}\nclasses:\n- {name: x, depth_1: [AX]}\n' \
    >"$seeds/rules/one-halogen.yaml"
  # What must be refused by a hair: from here, one wrong character in a check is enough.
  for file in a/b .a 'a b' "$(printf 'a%.0s' {1..129})"; do
    printf 'transforms:\n- {name: "%s", scope_classes: [x], smirks: "C>>N"}\n' "$file" >"$seeds/rules/refused-$((refused += 1)).yaml"
  done
  grep -v '^ *#' configs/pipeline.yaml >"$seeds/config/pipeline.yaml"
  cp "$made/split/plan.json" "$seeds/plan"
  tr -d ' \n' <"$made/split/plan.json" >"$seeds/plan/compact.json"
  cp "$made"/split/*.stats.json "$made/merged.parquet.stats.json" "$seeds/sidecar"
  cp "$made/split/library.parquet" "$made/merged.parquet" "$seeds/library"
  cp "$made/rows.tsv" "$seeds/text"
  tr '\t' ',' <"$made/rows.tsv" >"$seeds/text/rows.csv"
  cut -f 2,1 "$made/rows.tsv" | awk -F '\t' '{print $2, $1}' >"$seeds/text/rows.smi"
  printf 'smiles,n,x,note\r\nCCO,1,0.5,"a ""quoted""\r\nnote"\r\n\r\nC,007,,\r\n"c1ccccc1",9007199254740993,1e-7\r\n' >"$seeds/text/quoted.csv"
  # Two halves of one character in two fields.
  printf 'smiles\nC\t\314\t\216\n' >"$seeds/text/halves.tsv"
  head -3 "$made/rows.tsv" | gzip -9 >"$seeds/text/rows.tsv.gz"
}

# One target; one line about it on stdout.
run_target() {
  local target=$1 corpus log=$work/logs/$1.log options=(-timeout=10 -rss_limit_mb=512 -print_final_stats=1)
  mkdir -p "$work/failed/$target" "$work/logs"
  case $target in
    sidecar | rules | config | library) options+=(-max_len=16384) ;;
    *) options+=(-max_len=4096) ;;
  esac
  case $target in
    rules | config) options+=("-dict=$root/fuzz/yaml.dict") ;;
  esac
  if [ "$seconds" = short ]; then
    corpus=$(mktemp -d "$work/short.XXXXXX")
    # Counts and not seconds: a busy machine tries the same inputs. The time only bounds what has gone wrong.
    local runs=40000
    case $target in
      plan | sidecar) runs=200000 ;;
      rules) runs=80000 ;;
      text) runs=15000 ;;
    esac
    options+=(-seed=1 "-runs=$runs" -max_total_time=120)
  else
    corpus=$work/corpus/$target
    mkdir -p "$corpus"
    options+=("-max_total_time=$seconds")
  fi
  local code=0
  "$binaries/$target" "${options[@]}" -artifact_prefix="$work/failed/$target/" "$corpus" "$work/seeds/$target" \
    >"$log" 2>&1 || code=$?
  [ "$seconds" != short ] || rm -rf "$corpus"
  local covered tried
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ $code -eq 0 ]; then
    printf 'fuzz %-8s ok: %s inputs, %s points covered, %s MiB\n' "$target" "${tried:-?}" "${covered:-?}" \
      "$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
    return
  fi
  grep -vE '^#[0-9]+' "$log" | tail -40 >&2
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  printf 'fuzz %-8s FAILED: %s\nhint: run it again with %s %s\n' "$target" "${input:-$log}" "$binaries/$target" "$input"
  return 1
}

make_seeds
export -f run_target
export work root binaries seconds
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'run_target {}' || exit 1
