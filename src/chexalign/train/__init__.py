"""Training: batches, log-probs, the reference cache and the trainer."""
