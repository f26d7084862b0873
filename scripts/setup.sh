#!/usr/bin/env bash
# Puts what is missing on the machine, and nothing else: system packages through apt, Python environments inside the
# checkout. Costs well under a second when nothing is missing. Does not build and does not run anything.
#
# usage: scripts/setup.sh PART...
#   build      C++ compiler, pkg-config, RDKit and Boost headers: what `cargo build` needs
#   workflow   .venv with the pinned Snakemake (workflow/envs/requirements.txt)
#   test       .venv-test with the oracle and the readers of results (tests/requirements.txt); SLURM for its test, if it can
#   bench      .venv-bench-2022 and .venv-bench-newest with the Python baseline (benches/requirements-*.txt), mimalloc to preload
#   fuzz       target/tools/bin/cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 2; }

# Installs the packages of "$@" that dpkg does not know as installed. The package lists are refreshed only when
# something is missing.
need_packages() {
  local missing=() package
  if command -v dpkg-query >/dev/null; then
    for package in "$@"; do
      dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
  else
    missing=("$@")
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null; then as_root=(sudo); else as_root=(no); fi
  fi
  if ! command -v apt-get >/dev/null || [ "${as_root[0]:-}" = no ]; then
    local conda=""
    [[ " ${missing[*]} " != *" librdkit-dev "* ]] || conda=", or use conda-forge:
      conda install -c conda-forge librdkit-dev libboost-headers pkg-config cxx-compiler python=3.11, then activate that environment"
    die "these are missing and cannot be installed from here (needs apt-get, and root or sudo): ${missing[*]}
hint: ask an administrator for \`apt-get install ${missing[*]}\` (Debian and Ubuntu names)$conda"
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# The same for what one test alone needs: without them the rest goes on, and that test says that it did not run.
want_packages() { (need_packages "$@") || say "going on without: $*"; }

need_cargo() {
  command -v cargo >/dev/null || die "cargo is not on PATH
hint: install Rust from https://rustup.rs; rust-toolchain.toml then picks the toolchain"
}

# A conda environment with RDKit is used as it is: the build finds it through CONDA_PREFIX.
conda_has_rdkit() { [ -n "${CONDA_PREFIX:-}" ] && [ -e "$CONDA_PREFIX/include/rdkit/GraphMol/ROMol.h" ]; }

part_build() {
  need_cargo
  conda_has_rdkit || need_packages g++ libc6-dev pkg-config librdkit-dev libboost-dev
}

# Prints the first interpreter that is version 3.minor, minor in "$@", and can make an environment.
find_python() {
  local minor candidate
  for minor in "$@"; do
    for candidate in "python3.$minor" /usr/bin/python3 python3; do
      if command -v "$candidate" >/dev/null &&
        "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        command -v "$candidate"
        return
      fi
    done
  done
  return 1
}

# environment DIR REQUIREMENTS MINOR...: DIR holds exactly REQUIREMENTS. A copy of the requirements, written last, says so.
environment() {
  local dir=$1 requirements=$2 python
  shift 2
  if cmp -s "$requirements" "$dir/requirements.installed" && "$dir/bin/python" -c '' 2>/dev/null; then return; fi
  if ! python=$(find_python "$@"); then
    need_packages python3 python3-venv
    python=$(find_python "$@") || die "no Python 3 with minor version $* (found: $(python3 --version 2>&1))
hint: $requirements pins packages that exist for these versions only; Debian 12 has 3.11"
  fi
  say "making $dir from $requirements with $python"
  rm -rf "$dir"
  "$python" -m venv "$dir"
  "$dir/bin/pip" --quiet --disable-pip-version-check --no-cache-dir install --requirement "$requirements"
  cp "$requirements" "$dir/requirements.installed"
}

part_workflow() { environment "$root/.venv" workflow/envs/requirements.txt 11 12 13; }
part_test() {
  environment "$root/.venv-test" tests/requirements.txt 11
  # tests/tests/slurm.rs starts a SLURM cluster of one node on this machine.
  want_packages slurm-wlm munge iproute2
}
part_bench() {
  need_packages libmimalloc2.0
  environment "$root/.venv-bench-2022" benches/requirements-2022.txt 11
  environment "$root/.venv-bench-newest" benches/requirements-newest.txt 11 12 13
}

# Built without optimisation: it only calls cargo.
cargo_fuzz=0.13.1
part_fuzz() {
  need_cargo
  [ "$("$root/target/tools/bin/cargo-fuzz" --version 2>/dev/null)" != "cargo-fuzz $cargo_fuzz" ] || return 0
  say "building cargo-fuzz $cargo_fuzz into target/tools"
  cargo install --quiet --locked --debug --force --root "$root/target/tools" --target-dir "$root/target/tools/build" \
    --version "$cargo_fuzz" cargo-fuzz
  rm -rf "$root/target/tools/build"
}

[ $# -gt 0 ] || die "which part? build, workflow, test, bench, fuzz"
for part in "$@"; do
  case $part in
    build | workflow | test | bench | fuzz) "part_$part" ;;
    *) die "no part named \`$part\`; there are build, workflow, test, bench, fuzz" ;;
  esac
done
