#!/usr/bin/env bash
# Runs the command of one job, and records that the job is complete. The rules call it.
# usage: job.sh LOG RECORD COMMAND...
#
# What the command says goes to LOG; so does the reason, when it was killed. The command is a halo-* program and ends
# when this process ends (HALOCLINE_PARENT), as this process ends with Snakemake: a job never outlives the engine that
# started it, to write beside the next one.
set -uo pipefail
log=$1 record=$2
shift 2

# The memory cgroup of this process, with and without the unified hierarchy; empty when there is none.
cgroup() {
  local path
  if path=$(grep -m 1 ':memory:' /proc/self/cgroup 2>/dev/null); then
    echo "/sys/fs/cgroup/memory${path#*:memory:}"
  elif path=$(grep -m 1 '^0::' /proc/self/cgroup 2>/dev/null); then
    echo "/sys/fs/cgroup${path#0::}"
  fi
}
# How many processes of that group the kernel has killed for want of memory; 0 when it does not say.
oom_kills() {
  local count
  count=$(cat "$1/memory.events" "$1/memory.oom_control" 2>/dev/null | awk '$1 == "oom_kill" {print $2}')
  echo "${count:-0}"
}
# The limit of that group in MiB, which a group above it may set; empty when the kernel does not say.
limit() {
  local path=$1 least='' bytes
  if bytes=$(awk '$1 == "hierarchical_memory_limit" {print $2; found = 1} END {exit !found}' "$path/memory.stat" 2>/dev/null); then
    least=$bytes
  else
    while [ -e "$path/memory.max" ]; do
      bytes=$(cat "$path/memory.max")
      [ "$bytes" = max ] || [ "$bytes" -ge "${least:-9223372036854775807}" ] || least=$bytes
      path=${path%/*}
    done
  fi
  # (a number near 2^63 means none)
  [ "${#least}" -ge 19 ] || [ -z "$least" ] || echo "$((least >> 20)) MiB"
}

group=$(cgroup)
before=$(oom_kills "$group")
HALOCLINE_PARENT=$$ "$@" >"$log" 2>&1
code=$?
if [ $code -eq 0 ]; then
  exec halo-drive record "$record" >>"$log" 2>&1
fi
if [ ! -s "$log" ] && [ $code -ne 137 ]; then
  echo "halocline: $1: ended with $code and said nothing" >>"$log" ||
    echo "halocline: $1: ended with $code and could not write to its log $log" >&2
fi
if [ $code -eq 137 ]; then
  if [ "$(oom_kills "$group")" -gt "$before" ]; then
    most=$(limit "$group")
    why="killed by the kernel, because the machine had no memory left"
    [ -z "$most" ] || why="killed by the kernel: this job took more memory than its limit of $most${SLURM_JOB_ID:+ (SLURM job $SLURM_JOB_ID)}. It is never given more: the command outgrew its own --memory-limit, or the job was given less than that"
  else
    why="killed by signal 9: by somebody, or by the kernel because the machine had no memory left"
  fi
  echo "halocline: $1: $why" | tee -a "$log" >&2
fi
exit $code
