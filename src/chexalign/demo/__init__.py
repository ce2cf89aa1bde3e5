"""The embedded default: synthetic radiographs and a tiny policy, a user of everything else."""
