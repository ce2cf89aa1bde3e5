"""Searching the parameters of preference training: a grid or TPE over trials, chosen on the validation split."""
