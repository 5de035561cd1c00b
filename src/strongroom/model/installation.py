"""The installation: what `strongroom init` makes once."""

from msgspec import Struct


class Installation(Struct, frozen=True):
    """One per database. The public keys are DER SubjectPublicKeyInfo (digest) and raw HPKE public key (chain).

    `chain_public_key` seals the starting MAC keys of the audit chains; `digest_public_key` verifies audit digests.
    `usage_tracked_since` is when the uses of KMS keys began to be noted, in seconds since the epoch
    (`app/usage_tracking.py`); None if an older version made the installation and this one was not started yet.
    `recovery_public_key` (DER SubjectPublicKeyInfo, RSA) is that of the recovery key, if keys in an HSM have one;
    `backup_verified` is when a second token was last seen to hold the same keys, in seconds since the epoch.
    """

    installation_id: str
    created: float
    chain_public_key: bytes
    digest_public_key: bytes
    usage_tracked_since: float | None = None
    recovery_public_key: bytes | None = None
    backup_verified: float | None = None
