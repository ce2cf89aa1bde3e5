"""Policies: how to talk to a vision-language model."""
