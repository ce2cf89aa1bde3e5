"""Scripts that run in other Python environments, each for judges whose pins cannot meet ours; none is imported here."""
