#!/usr/bin/env bash
# Snakemake of the checkout's own environment, with its caches inside the checkout. Arguments are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH XDG_CACHE_HOME=$PWD/.cache
exec snakemake "$@"
