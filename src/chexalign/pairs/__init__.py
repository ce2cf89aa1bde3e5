"""Preference data: a view over scores, rebuilt in seconds."""
