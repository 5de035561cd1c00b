"""Opened keys: kept, dropped, and never kept after they were to be forgotten."""

from msgspec.structs import replace

from strongroom.keystores.opened_keys import OpenedKeys
from strongroom.model.key import KeyMaterial, KmsKey
from tests.keys import KEY

MATERIAL = KeyMaterial("111122223333", "us-east-1", KEY.key_id, "ab" * 32, 1, "software", 1, b"wrapped", 1.0)


class Loading:
    """Counts what is opened; `meanwhile` is done while it is."""

    def __init__(self) -> None:
        self.opened: list[KeyMaterial] = []
        self.forgets = False
        self.keys = OpenedKeys(self._load, limit=2)

    def _load(self, _key: KmsKey, material: KeyMaterial) -> KeyMaterial:
        self.opened.append(material)
        if self.forgets:
            self.keys.forget(material.region, material.material_id)
        return material


def test_what_is_open_is_not_opened_again() -> None:
    loading = Loading()
    for _ in range(3):
        assert loading.keys.get(KEY, MATERIAL) is MATERIAL
    assert len(loading.opened) == 1
    loading.keys.forget(MATERIAL.region, MATERIAL.material_id)
    loading.keys.get(KEY, MATERIAL)
    assert len(loading.opened) == 2


def test_another_record_of_the_same_id_is_opened_for_itself() -> None:
    loading = Loading()
    other = replace(MATERIAL, wrapped=b"other")
    loading.keys.get(KEY, MATERIAL)
    assert loading.keys.get(KEY, other) is other


def test_what_is_forgotten_while_it_is_opened_is_not_kept() -> None:
    loading = Loading()
    loading.forgets = True
    assert loading.keys.get(KEY, MATERIAL) is MATERIAL
    assert loading.keys._kept == {}
    assert loading.keys._opening == {}


def test_the_oldest_goes_first() -> None:
    loading = Loading()
    materials = [replace(MATERIAL, material_id=f"{number:064x}") for number in range(3)]
    for material in materials:
        loading.keys.get(KEY, material)
    loading.keys.get(KEY, materials[2])
    assert len(loading.opened) == 3
    loading.keys.get(KEY, materials[0])
    assert len(loading.opened) == 4
