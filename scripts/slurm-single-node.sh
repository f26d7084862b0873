#!/usr/bin/env bash
# A SLURM cluster of one node (munged, slurmctld, slurmd) for as long as one command runs. Needs no systemd and no
# configuration of the machine: the daemons and the command live in namespaces of their own (processes, mounts, network,
# host name), so that nothing of it can be seen from outside, two of them do not meet, and whatever way it ends, the
# kernel ends every process of it.
#
# usage: scripts/slurm-single-node.sh check              can this machine do it? exit 3 and one sentence when it cannot
#        scripts/slurm-single-node.sh run DIR COMMAND... runs COMMAND beside the daemons; their files and logs in DIR
#
# Memory limits are enforced by cgroup where the memory controller can be written, else by polling (every second).
set -euo pipefail

programs=(munged munge slurmctld slurmd sbatch srun squeue scancel sinfo scontrol unshare setpriv flock ip)
namespaces=(--mount --pid --net --uts --ipc --fork --kill-child --mount-proc --propagation private)

cannot() { echo "slurm-single-node: cannot run here: $*" >&2; exit 3; }
die() { echo "slurm-single-node: $*" >&2; exit 2; }

check() {
  local program missing=()
  for program in "${programs[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -eq 0 ] ||
    cannot "these programs are missing: ${missing[*]}; install them with \`apt-get install slurm-wlm munge util-linux iproute2\` (Debian and Ubuntu names)"
  [ "$(id -u)" -eq 0 ] || cannot "slurmd must be started by root, and this is $(id -un)"
  local said
  said=$(unshare "${namespaces[@]}" ip link set lo up 2>&1) ||
    cannot "no namespaces of one's own (a container without CAP_SYS_ADMIN?): $said"
  [ -d /etc/slurm ] || cannot "there is no /etc/slurm, where Debian's SLURM looks for its configuration"
}

# How memory limits can be enforced: cgroup/v1, cgroup/v2 or polling.
enforcement() {
  local probe=/sys/fs/cgroup/memory/halocline-probe-$$
  if mkdir "$probe" 2>/dev/null; then
    rmdir "$probe"
    echo cgroup/v1
  elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null &&
    mkdir "/sys/fs/cgroup/halocline-probe-$$" 2>/dev/null; then
    rmdir "/sys/fs/cgroup/halocline-probe-$$"
    echo cgroup/v2
  else
    echo polling
  fi
}

# Groups that a run left behind when it was killed hold no process any more; a directory with processes cannot be removed.
remove_cgroups() {
  local top
  for top in /sys/fs/cgroup/*/"slurm_$1" /sys/fs/cgroup/"slurm_$1"; do
    [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

configuration() { # NODE ENFORCEMENT
  local node=$1 enforcement=$2 cpus memory_mib
  cpus=$(nproc)
  memory_mib=$(($(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo) * 8 / 10))
  cat <<CONF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/etc/slurm/munge.socket
CredType=cred/munge
StateSaveLocation=/etc/slurm/state
SlurmdSpoolDir=/etc/slurm/spool
SlurmctldPidFile=/etc/slurm/slurmctld.pid
SlurmdPidFile=/etc/slurm/slurmd.pid
SlurmctldLogFile=/etc/slurm/slurmctld.log
SlurmdLogFile=/etc/slurm/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
DefMemPerCPU=500
MinJobAge=300
KillWait=5
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus Sockets=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$memory_mib State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=7-00:00:00 DefaultTime=60 State=UP OverSubscribe=NO
CONF
  if [ "$enforcement" = polling ]; then
    cat <<CONF
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
CONF
  else
    cat <<CONF
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherFrequency=task=1
CONF
  fi
}

# Waits until "$@" succeeds, ten seconds at most.
await() {
  local n
  for n in $(seq 100); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  return 1
}
idle() { [ "$(timeout 2 sinfo --noheader --format %T)" = idle ]; }

# Runs as process 1 of the namespaces.
inside() { # DIR NODE COMMAND...
  local dir=$1 node=$2 enforcement at=/etc/slurm
  shift 2
  export PATH=$PATH:/usr/sbin:/sbin
  hostname "$node"
  ip link set lo up
  # SLURM asks for addresses "as this host has them", and loopback ones do not count there.
  ip address add 192.0.2.1/32 dev lo
  printf '127.0.0.1 localhost %s\n' "$node" >"$dir/hosts"
  mount --bind "$dir/hosts" /etc/hosts
  # Everything of the cluster is in DIR, under the compiled-in path of the configuration: the Snakemake plugin drops
  # SLURM_CONF from the environment of its inner srun, and the paths of sockets are short whatever DIR is.
  mount --bind "$dir" $at
  enforcement=$(enforcement)
  configuration "$node" "$enforcement" >$at/slurm.conf
  [ "$enforcement" = polling ] ||
    printf '%s\n' "CgroupPlugin=$enforcement" CgroupMountpoint=/sys/fs/cgroup CgroupAutomount=no ConstrainCores=yes \
      ConstrainRAMSpace=yes ConstrainSwapSpace=no AllowedRAMSpace=100 >$at/cgroup.conf
  munged --key-file=$at/munge.key --socket=$at/munge.socket --pid-file=$at/munged.pid --log-file=$at/munged.log \
    --seed-file=$at/munge.seed 2>$at/munged.err || die "munged does not start: $(tail -n 1 $at/munged.err)"
  await munge --no-input --socket=$at/munge.socket || die "munged does not answer; log: $dir/munged.log"
  slurmctld -c || die "slurmctld does not start; log: $dir/slurmctld.log"
  slurmd -N "$node" || die "slurmd does not start; log: $dir/slurmd.log"
  await idle || die "the node does not become idle (sinfo says $(timeout 2 sinfo --noheader --format %T 2>&1)); logs: $dir"
  echo "slurm-single-node: up, memory limits by $enforcement" >&2

  local code=0
  "$@" || code=$?
  # When this process ends, the kernel ends what is left.
  exit "$code"
}

run() { # DIR COMMAND...
  local dir=$1 node code=0
  shift
  check
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd -P)
  # Held by every process of the cluster, so released by the kernel with the last of them.
  exec 9>"$dir.lock"
  flock --nonblock 9 || die "another cluster is running in $dir"
  # A node, and with it its cgroups, is named after its folder: two checkouts do not meet, and what a run left behind that
  # was killed is found by the next.
  node=halo$(cksum <<<"$dir" | cut -d' ' -f1)
  remove_cgroups "$node"
  rm -rf "$dir"
  mkdir -m 711 "$dir"
  mkdir "$dir/state" "$dir/spool"
  head -c 128 /dev/urandom >"$dir/munge.key"
  chmod 400 "$dir/munge.key"
  # Ends with this process, and process 1 of the namespaces with it, and with that everything else.
  setpriv --pdeathsig KILL unshare "${namespaces[@]}" "${BASH_SOURCE[0]}" inside "$dir" "$node" "$@" || code=$?
  remove_cgroups "$node"
  exit "$code"
}

case ${1:-} in
  check) check ;;
  run) [ $# -ge 3 ] || die "usage: run DIR COMMAND..."; shift; run "$@" ;;
  inside) shift; inside "$@" ;;
  *) sed -n '7,8s/^# *//p' "$0" >&2; exit 2 ;;
esac
