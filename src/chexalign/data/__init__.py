"""Datasets: each reads a collection as its owner ships it and writes Study rows."""
