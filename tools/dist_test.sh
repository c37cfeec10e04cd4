#!/usr/bin/env bash
# Evaluate on several processes: dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# On several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. Without GPUs the processes run on CPUs over gloo.
set -euo pipefail
usage='usage: dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments]'
config=${1:?$usage} checkpoint=${2:?$usage} processes=${3:?$usage}
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$root/tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
