#!/bin/bash
# Denoise the file of a folder whose number is that of the task in a SLURM job array:
#     denoise_nth.sh MODEL FOLDER RESULTS
set -eu
model=$1 folder=$2 results=$3
files=("$folder"/*.tif)
file=${files[$SLURM_ARRAY_TASK_ID]}
mkdir -p "$results"
exec napari-n2n denoise "$model" "$file" -o "$results/$(basename "$file")" --resume --memory 3GB
