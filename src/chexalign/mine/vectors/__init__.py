"""Questions as vectors and flags, by modality, in files that are read as they are needed."""
