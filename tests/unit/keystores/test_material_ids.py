"""The ids of imported key material."""

import hmac

from msgspec.structs import replace

from strongroom.crypto.framing import frame
from strongroom.keystores.material_ids import MaterialIds, challenge
from strongroom.model.key_specs import HMAC_SPECS
from tests.keys import KEY, kms_key

IDS = MaterialIds(bytes(range(32)))
KNOWN_BY = bytes(32)


def test_the_id_is_what_the_format_says() -> None:
    """docs/formats/wrapped-keys.md, with other code than ours."""
    parts = [b"strongroom imported key material", KEY.account.encode(), KEY.key_id.encode()]
    assert challenge(KEY) == ("HMAC_SHA_256", frame(parts))
    named = hmac.new(bytes(range(32)), frame([*parts, b"SYMMETRIC_DEFAULT", KNOWN_BY]), "sha256").hexdigest()
    assert IDS.name(KEY, KNOWN_BY) == named


def test_the_id_is_of_one_key_and_one_material() -> None:
    ids = {
        IDS.name(KEY, KNOWN_BY),
        IDS.name(KEY, KNOWN_BY[1:]),
        IDS.name(replace(KEY, account="999999999999"), KNOWN_BY),
        IDS.name(replace(KEY, key_id="00000000-12ab-34cd-56ef-1234567890ab"), KNOWN_BY),
        IDS.name(replace(KEY, key_spec="HMAC_256"), KNOWN_BY),
        MaterialIds(bytes(32)).name(KEY, KNOWN_BY),
    }
    assert len(ids) == 6
    assert IDS.name(replace(KEY, region="eu-west-1"), KNOWN_BY) in ids  # a replica's is the same


def test_hmac_keys_answer_with_their_own_hash() -> None:
    """A token may refuse a key that is shorter than the hash with which it is asked."""
    for spec in HMAC_SPECS:
        algorithm, _ = challenge(kms_key(spec, "GENERATE_VERIFY_MAC"))
        assert algorithm == f"HMAC_SHA_{spec[5:]}"


def test_shows_no_key() -> None:
    assert repr(IDS) == "MaterialIds()"
