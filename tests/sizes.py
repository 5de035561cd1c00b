"""How much the long tests do: `make test` takes SMALL, `make soak` SOAK. The `size` fixture chooses."""

from typing import NamedTuple


class Size(NamedTuple):
    """Counts of the long tests."""

    data_keys: int
    kills: int
    rounds: int
    fuzz_requests: int
    simulated_policies: int
    decisions: int
    """Cases of the decision table of each kind."""
    rotations: int
    """Of one key under load."""
    keys_due: int
    """Keys that are due at once: to be rotated, and to lose expired material."""
    rotation_kills: int
    region_kills: int
    """Of processes that change a multi-Region key."""
    hsm_faulty_operations: int
    hsm_seconds: int
    """How long processes and threads share a token."""
    hsm_keys: int
    hsm_encryptions: int
    migration_kills: int
    """Of moves to PostgreSQL, from their beginning to their end."""
    xks_kills: int
    """Of each side of an external key store under load."""
    node_seconds: int
    """How long nodes are under load while things fail."""
    damages: int
    """Of the files of an installation, one at a time."""
    log_edits: int
    """Of an audit log, one at a time."""
    log_records: int
    """Of a log that is verified."""


SMALL = Size(
    data_keys=100,
    kills=3,
    rounds=40,
    fuzz_requests=1_000,
    simulated_policies=1_500,
    decisions=1,
    rotations=2,
    keys_due=4,
    rotation_kills=1,
    region_kills=1,
    hsm_faulty_operations=2_000,
    hsm_seconds=2,
    hsm_keys=60,
    hsm_encryptions=6_000,
    migration_kills=1,
    xks_kills=1,
    node_seconds=10,
    damages=40,
    log_edits=100,
    log_records=2_000,
)
SOAK = Size(
    data_keys=1_000,
    kills=100,
    rounds=1_000,
    fuzz_requests=20_000,
    simulated_policies=100_000,
    decisions=1_000,
    rotations=10,
    keys_due=300,
    rotation_kills=20,
    region_kills=20,
    hsm_faulty_operations=100_000,
    hsm_seconds=60,
    hsm_keys=10_000,
    hsm_encryptions=5_000_000,
    migration_kills=40,
    xks_kills=20,
    node_seconds=180,
    damages=1_000,
    log_edits=1_000,
    log_records=1_000_000,
)
