"""Sampling candidates from a policy."""
