"""Judges: each scores a candidate report against the radiologist's reference."""

from chexalign.judges.reward import as_reward

__all__ = ["as_reward"]
