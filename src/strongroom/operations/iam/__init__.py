"""The operations of IAM, one file per family."""
