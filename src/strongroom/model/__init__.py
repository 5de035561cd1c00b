"""The vocabulary: no I/O."""
