"""Encryptions with material that encrypts with AES-256-GCM itself, counted over all server processes.

Random nonces of 96 bits are safe for 2^32 messages under one key (NIST SP 800-38D, section 8.3). A process takes leave
for many at once, so that it seldom has to write: what it does not use up is lost. The keys of a multi-Region key have
the same material: the primary key's counts for all. External keys of the XKS proxy count in their own records.
"""

import sys
import threading

from msgspec.structs import replace

from strongroom.errors import ConflictError, KeyUnavailable, KMSInternal, LimitExceeded
from strongroom.keystores.external_keys import ACCOUNT as XKS_PROXY
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.xks import ExternalKey
from strongroom.storage.contract import Keep, Replace, Storage, Write

AT_ONCE = 2**20
WARNED_AT = 2**31
LIMIT = 2**32

_ATTEMPTS = 10


class CountedUses:
    """The uses that this process may still make of each material. Safe to share between threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, material: KeyMaterial) -> None:
        """Count one encryption before it is done. Raises LimitExceeded, KeyUnavailable. May wait for the disk.

        The material is that of a KMS key, or what an external key is to its key store.
        """
        with self._lock:
            left = self._left.get(material.material_id, 0) or self._take(material)
            self._left[material.material_id] = left - 1

    def _take(self, material: KeyMaterial) -> int:
        for _ in range(_ATTEMPTS):
            stored, number, unless_moved = self._counting(material)
            taken = stored.uses or 0
            if taken + AT_ONCE > LIMIT:
                raise LimitExceeded(f"Key {material.key_id} has encrypted {LIMIT} times, the most that it can.")
            try:
                self._storage.commit([Replace(replace(stored, uses=taken + AT_ONCE), number), *unless_moved], None)
            except ConflictError:
                continue
            if taken + AT_ONCE > WARNED_AT >= taken:
                sys.stderr.write(f"strongroom: {_named(material)} has encrypted {WARNED_AT} times, half of its limit\n")
            return AT_ONCE
        raise KMSInternal("The request could not be completed because of concurrent changes. Try again.")

    def _counting(self, material: KeyMaterial) -> tuple[KeyMaterial | ExternalKey, int, list[Write]]:
        """The record that counts the uses of a material, its number, and what must stay so that it is this one.

        Raises KeyUnavailable.
        """
        if material.account == XKS_PROXY:
            external = self._storage.find(ExternalKey, (material.region, material.key_id))
            if external is None or external[0].material_id != material.material_id:
                raise KeyUnavailable
            return *external, []
        region, unless_moved = material.region, list[Write]()
        key = self._storage.find(KmsKey, (material.account, material.region, material.key_id))
        if key is not None and key[0].primary_region is not None:
            region, unless_moved = key[0].primary_region, [Keep(*key)]
        found = self._storage.find(KeyMaterial, (material.account, region, material.key_id, material.material_id))
        if found is None:
            raise KeyUnavailable
        return *found, unless_moved


def _named(material: KeyMaterial) -> str:
    """The key as the operator knows it."""
    external = material.account == XKS_PROXY
    return f"key {material.key_id}" + (f" of the XKS proxy's {material.region or '/'}" if external else "")
