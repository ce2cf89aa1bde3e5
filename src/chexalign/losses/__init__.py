"""Alignment losses: pure functions of log-probs, one file per algorithm."""
