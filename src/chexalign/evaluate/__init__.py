"""Metrics per study, and estimates with intervals."""
