#!/usr/bin/env bash
# Train on several processes: dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# On several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. Without GPUs the processes run on CPUs over gloo.
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG PROCESSES [arguments]}
processes=${2:?usage: dist_train.sh CONFIG PROCESSES [arguments]}
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$root/tools/train.py" "$config" --launcher pytorch "${@:3}"
