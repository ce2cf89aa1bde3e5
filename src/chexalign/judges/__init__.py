"""Judges: each scores a candidate report against the radiologist's reference."""
