"""What prepared tables hold: whether their splits leak, whether they contradict themselves, and their statistics."""
