#!/bin/bash
# Train on one node with several GPUs; sbatch examples/slurm.sh proteins.csv
# A job that is stopped for its time limit, preempted or killed goes on when it is queued again.
#SBATCH --job-name=profactory
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

DATA=${1:?usage: sbatch examples/slurm.sh DATA [OPTIONS OF profactory train]}
shift
RUN=runs/slurm-$SLURM_JOB_ID        # the same after the job was queued again
PROCESSES=${SLURM_GPUS_ON_NODE:-1}
# The number of threads is part of what makes a run repeatable; compute nodes may differ in cores.
export OMP_NUM_THREADS=$(( SLURM_CPUS_PER_TASK / PROCESSES ))
# Compute nodes often have no network: fetch the model on the login node first, by
# `profactory train DATA --model NAME --limit 50 --epochs 1`, and keep Hub access off here.
export HF_HUB_OFFLINE=1

launch() {
    exec srun --kill-on-bad-exit=1 torchrun --standalone --nproc-per-node "$PROCESSES" -m profactory "$@"
}

if [ -f "$RUN/status.json" ]; then
    launch resume "$RUN"
fi
launch train "$DATA" --out "$RUN" "$@"
