"""Right answers edited into wrong ones, by rules over their words and their evidence."""
