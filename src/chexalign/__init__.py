"""Preference alignment for chest X-ray vision-language models, with automatic judges instead of radiologists."""

__version__ = "0.1.0"
