"""The operations of AWS KMS, one file per family."""
