#!/usr/bin/env bash
# Starts a trainer as N processes on this machine, which talk over TCP.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/launch.sh N TRAINER [ARGUMENT...]
#
# Sets what torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR
# (127.0.0.1 where it is not set) and MASTER_PORT (a free one where it is not set).
# All ranks write to this terminal; rank 0 is the one that talks. The exit code is that of
# the first rank that failed. SIGINT and SIGTERM are passed on.
set -uo pipefail

case "${1:-}" in -h|--help) sed -n '2,11p' "$0" | cut -c3-; exit 0 ;; esac
if ! [[ "${1:-}" =~ ^[1-9][0-9]*$ ]] || [ $# -lt 2 ]; then
  echo "error: '${1:-}' is no number of ranks; use utils/launch.sh N TRAINER [ARGUMENT...]" >&2
  exit 1
fi
ranks=$1
shift

# Nobody listens at a port that cannot be connected to.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000)) # below what the system gives to connections
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  echo "error: no free port among 100 tried; set MASTER_PORT" >&2
  exit 1
}
port=${MASTER_PORT:-$(free_port)} || exit 1

pids=()
for ((rank = 0; rank < ranks; ++rank)); do
  RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$ranks \
    MASTER_ADDR=${MASTER_ADDR:-127.0.0.1} MASTER_PORT=$port "$@" &
  pids+=($!)
done
trap 'kill -INT "${pids[@]}" 2>/dev/null' INT
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM

# In the order in which they end. A wait that a signal cut short is begun again.
code=0
left=$ranks
while [ "$left" -gt 0 ]; do
  ended=
  wait -n -p ended "${pids[@]}"
  this=$?
  [ -n "$ended" ] || continue
  left=$((left - 1))
  for i in "${!pids[@]}"; do
    [ "${pids[$i]}" != "$ended" ] || unset "pids[$i]"
  done
  [ "$code" -ne 0 ] || code=$this
done
exit "$code"
