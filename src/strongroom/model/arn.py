"""Amazon Resource Names of what Strongroom holds. The partition is always `aws`."""


def key_arn(region: str, account: str, key_id: str) -> str:
    """ARN of a KMS key: `arn:aws:kms:us-east-1:111122223333:key/1234abcd-…`."""
    return f"arn:aws:kms:{region}:{account}:key/{key_id}"


def alias_arn(region: str, account: str, alias_name: str) -> str:
    """ARN of an alias; `alias_name` begins with `alias/`."""
    return f"arn:aws:kms:{region}:{account}:{alias_name}"


def session_arn(account: str, role_name: str, session_name: str) -> str:
    """ARN of a session of a role. The role's path is not in it."""
    return f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"


def root_arn(account: str) -> str:
    """ARN of an account's root user, which in a policy stands for the whole account."""
    return f"arn:aws:iam::{account}:root"
