#!/usr/bin/env bash
# Search on several processes, an island each: dist_search.sh CONFIG PROCESSES [arguments of tools/search.py]
# On several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. No GPU is used.
set -euo pipefail
config=${1:?usage: dist_search.sh CONFIG PROCESSES [arguments]}
processes=${2:?usage: dist_search.sh CONFIG PROCESSES [arguments]}
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$root/tools/search.py" "$config" --launcher pytorch "${@:3}"
