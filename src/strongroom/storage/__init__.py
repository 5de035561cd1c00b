"""What the service remembers, in authenticated rows."""
