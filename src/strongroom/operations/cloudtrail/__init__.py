"""The operations of CloudTrail."""
