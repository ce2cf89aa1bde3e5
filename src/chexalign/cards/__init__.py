"""Cards of models and data, written from manifests and estimates: every figure names its file."""
