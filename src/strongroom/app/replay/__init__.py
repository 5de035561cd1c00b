"""What the audit log knows of later changes, done again in a database that is restored from before.

What takes something away must not be undone by an old backup: it is done again, and so is whatever the log tells whole.
What it does not tell (key material, secrets) is left to a person, and named.
"""
