#!/usr/bin/env bash
# Train under slurm: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, PY_ARGS.
set -euo pipefail
usage='usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments]'
partition=${1:?$usage} job=${2:?$usage} config=${3:?$usage} work_dir=${4:?$usage}
gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
((per_node > gpus)) && per_node=$gpus
root=$(cd "$(dirname "$0")/.." && pwd)
# SRUN_ARGS and PY_ARGS hold several words.
# shellcheck disable=SC2086
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/train.py" "$config" --work-dir "$work_dir" --launcher slurm ${PY_ARGS:-} "${@:5}"
