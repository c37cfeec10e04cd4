#!/usr/bin/env bash
# Evaluate under slurm: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, PY_ARGS.
set -euo pipefail
usage='usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments]'
partition=${1:?$usage} job=${2:?$usage} config=${3:?$usage} checkpoint=${4:?$usage}
gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
((per_node > gpus)) && per_node=$gpus
root=$(cd "$(dirname "$0")/.." && pwd)
# SRUN_ARGS and PY_ARGS hold several words.
# shellcheck disable=SC2086
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/test.py" "$config" "$checkpoint" --launcher slurm ${PY_ARGS:-} "${@:5}"
