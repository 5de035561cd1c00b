"""What is counted and measured, in memory that the server processes of a node share, and as Prometheus reads it."""
