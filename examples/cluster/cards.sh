#!/bin/bash
# Denoise with all NVIDIA cards of this computer, one worker for each card:
#     cards.sh MODEL RECORDING RESULT
# Needs dask.distributed. With dask-cuda, `dask cuda worker` starts the same workers.
set -eu
model=$1 recording=$2 result=$3
address=tcp://127.0.0.1:${PORT:-8786}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # the exit status is that of the last command

dask scheduler --host 127.0.0.1 --port "${PORT:-8786}" --no-dashboard &
for card in $(nvidia-smi --query-gpu=index --format=csv,noheader); do
    CUDA_VISIBLE_DEVICES=$card dask worker "$address" --nthreads 1 --name "card-$card" --no-dashboard &
done
napari-n2n denoise "$model" "$recording" -o "$result" --scheduler "$address" --device "${DEVICE:-cuda}" --resume
