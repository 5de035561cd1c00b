"""The installation: what `strongroom init` makes once."""

from msgspec import Struct


class Installation(Struct, frozen=True):
    """One per database. The public keys are DER SubjectPublicKeyInfo (digest) and raw HPKE public key (chain).

    `chain_public_key` seals the starting MAC keys of the audit chains; `digest_public_key` verifies audit digests.
    `usage_tracked_since` is when the uses of KMS keys began to be noted, in seconds since the epoch
    (`app/usage_tracking.py`); None if an older version made the installation and this one was not started yet.
    """

    installation_id: str
    created: float
    chain_public_key: bytes
    digest_public_key: bytes
    usage_tracked_since: float | None = None
