#!/usr/bin/env bash
# Everything that is to be known of the toolbox on a GPU, in eight minutes, without network:
#   benchmarks/gpu_check.sh --prepare [--visdrone DIR]   collects what must travel into .whl/ (on a machine with network)
#   benchmarks/gpu_check.sh [--out DIR]                  measures (on the GPU machine, in the copied tree)
#   benchmarks/gpu_check.sh --dry-run                    runs every part on the CPU at tiny sizes
# PYTHON names the interpreter (default: python3). See docs/benchmarks.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "${PYTHON:-python3}" "$root/benchmarks/gpu_check.py" "$@"
