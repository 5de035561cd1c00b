"""The four operations of the XKS proxy: Strongroom as the external key manager of AWS KMS, or of another Strongroom."""
