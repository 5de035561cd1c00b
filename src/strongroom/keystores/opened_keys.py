"""Key material that is open in this process: the last that was used, ready for use."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from strongroom.model.key import KeyMaterial, KmsKey

OPENED_PRIVATE_LIMIT = 10_000
"""Opened private keys of each usage kept, up to 16 KB each."""

_Key = TypeVar("_Key")


class OpenedKeys(Generic[_Key]):
    """The material of keys of one usage that was opened last, ready for use. Safe to share between threads."""

    def __init__(self, load: Callable[[KmsKey, KeyMaterial], _Key], limit: int = OPENED_PRIVATE_LIMIT) -> None:
        self._load = load
        self._limit = limit
        self._kept: dict[tuple[str, str], tuple[KeyMaterial, _Key]] = {}
        self._opening: dict[tuple[str, str], KeyMaterial] = {}
        self._eviction = Lock()

    def get(self, key: KmsKey, material: KeyMaterial) -> _Key:
        """Open material, or return it as opened before."""
        identity = (material.region, material.material_id)
        kept = self._kept.get(identity)
        # The whole record is compared: an altered copy of an opened material must not pass for it.
        if kept is not None and kept[0] == material:
            return kept[1]
        with self._eviction:  # before it is opened: whoever forgets it meanwhile finds it
            self._opening[identity] = material
        opened = self._load(key, material)
        with self._eviction:
            if self._opening.pop(identity, None) is material:
                if len(self._kept) >= self._limit:
                    del self._kept[next(iter(self._kept))]
                self._kept[identity] = (material, opened)
        return opened

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        with self._eviction:
            self._kept.pop((region, material_id), None)
            self._opening.pop((region, material_id), None)
