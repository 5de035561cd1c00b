"""Step 12: whether the algorithm that a request names fits the key; and which algorithms a key offers."""

from strongroom.errors import InvalidKeyUsage
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import KEY_SPECS


def check_algorithm(key: KmsKey, algorithm: str) -> None:
    """Raise InvalidKeyUsage, with AWS's text, if a key of this spec and usage does not offer `algorithm`."""
    if algorithm not in KEY_SPECS[key.key_spec].algorithms[key.key_usage]:
        raise InvalidKeyUsage(f"Algorithm {algorithm} is incompatible with key spec {key.key_spec}.")


def offered(key: KmsKey, usage: str) -> tuple[str, ...] | None:
    """The algorithms that a key of this usage offers; None for a key of another usage."""
    return KEY_SPECS[key.key_spec].algorithms[usage] if key.key_usage == usage else None
