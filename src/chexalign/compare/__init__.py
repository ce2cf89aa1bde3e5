"""Finished runs side by side, as the tables of the CheXalign paper."""
