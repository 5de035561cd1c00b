"""What callers ask for: the registry, and one file per family of operations."""
