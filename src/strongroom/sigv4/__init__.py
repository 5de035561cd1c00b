"""AWS Signature Version 4, as pure functions."""
