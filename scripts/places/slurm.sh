#!/usr/bin/env bash
# sbatch scripts/places/slurm.sh modality=text trainer=ddp trainer.precision=bf16-mixed paths.output_root=/shared/outputs
# One process a GPU; options before the script's name replace these: sbatch --nodes=4 --partition=NAME scripts/places/slurm.sh ...
# Two minutes before its time is up each process is told, the run saves, asks to be queued again, and goes on.
#SBATCH --job-name=omniformer
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if [[ -z "${SLURM_JOB_ID:-}" ]]; then
    echo "$0: this is no job of SLURM; start it with sbatch $0 KEY=VALUE..." >&2
    exit 2
fi
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # which srun does not take over from the job by itself
srun python -m omniformer.train "$@" \
    "trainer.devices=$SLURM_NTASKS_PER_NODE" "trainer.num_nodes=$SLURM_NNODES" resume=auto
