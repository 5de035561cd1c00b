"""What cannot be moved is refused, and nothing is changed by it. The whole drill is in tests/e2e/test_hsm.py."""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec.structs import replace

from strongroom import app
from strongroom.app import moving
from strongroom.app.installing import Opened, open_installation
from strongroom.app.key_store import key_store_of, served_external_keys
from strongroom.app.recorded_change import Commit, commit_recorded
from strongroom.app.serving_lock import alone, serving
from strongroom.audit.record import CloudTrailRecord
from strongroom.audit.writer import AuditLog
from strongroom.config import Config, Hsm, HsmPin, read_config
from strongroom.errors import ConfigurationError, HsmError, StorageError
from strongroom.keystores.domain_keys import recovery_fingerprint
from strongroom.keystores.external_keys import ExternalKeys
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.domain_keys import PURPOSES
from strongroom.keystores.hsm.recovery import for_holder
from strongroom.keystores.hsm.templates import secret_key
from strongroom.model.key import KeyMaterial
from strongroom.model.xks import ExternalKey
from strongroom.storage.contract import Insert, Position, Write
from strongroom.storage.sqlite import read_domain_keys
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import logged_in, new_token
from tests.keys import kms_key

pytestmark = pytest.mark.usefixtures("proven_before")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture
def private(tmp_path: Path, key: rsa.RSAPrivateKey) -> Path:
    path = tmp_path / "private.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def public(tmp_path: Path, key: rsa.RSAPrivateKey) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def token(softhsm: SoftHsm) -> Hsm:
    return Hsm(LIBRARY, new_token(softhsm), HsmPin(file=softhsm.pin_file))


def installed(data: Path, hsm: Hsm | None, recovery_key: Path | None = None) -> Config:
    app.initialize(data, region="us-east-1", port=0, account=None, hsm=hsm, recovery_key=recovery_key, now=time.time())
    return read_config(data / "strongroom.yaml")


def move(config: Config, private: Path, fingerprint: str | None = None, *, discard_unfinished: bool = False) -> int:
    if fingerprint is None:
        fingerprint = recovery_fingerprint(read_domain_keys(config.database)[1])
    return app.move_to_token(
        config,
        private,
        lambda: None,
        fingerprint=fingerprint,
        discard_unfinished=discard_unfinished,
        now=time.time(),
    )


def keys_in(softhsm: SoftHsm, token: Hsm) -> int:
    with logged_in(softhsm, token.token) as session:
        return len(session.find(Template({p11.CKA_TOKEN: True})))


def test_without_a_recovery_key_from_the_beginning_nothing_moves(data: Path, softhsm: SoftHsm, private: Path) -> None:
    config, new = installed(data, token(softhsm)), token(softhsm)
    told = r"^this installation was made without a recovery key: nothing of it can be moved$"
    with pytest.raises(HsmError, match=told):
        move(replace(config, hsm=new), private)
    assert keys_in(softhsm, new) == 0


def test_from_a_root_key_file_nothing_moves(data: Path, softhsm: SoftHsm, private: Path) -> None:
    config = installed(data, None)
    with pytest.raises(
        ConfigurationError, match=r"^this installation has a root key file: there is nothing in an HSM$"
    ):
        move(replace(config, hsm=token(softhsm)), private)
    with pytest.raises(ConfigurationError, match=r"^the configuration names no HSM to move to$"):
        move(config, private)


def test_it_moves_within_one_token_too(data: Path, softhsm: SoftHsm, private: Path, public: Path) -> None:
    config = installed(data, token(softhsm), public)
    assert move(config, private) == 0
    assert config.hsm is not None
    assert keys_in(softhsm, config.hsm) == 2 * len(PURPOSES)
    assert app.WRONG not in {finding.verdict for finding in app.diagnose(config)}


def test_a_material_that_was_deleted_stays_as_it_is(data: Path, softhsm: SoftHsm, private: Path, public: Path) -> None:
    """Of imported material that was deleted or has expired there is nothing to move."""
    config, key = installed(data, token(softhsm), public), kms_key()
    deleted = KeyMaterial(
        account=key.account,
        region=key.region,
        key_id=key.key_id,
        material_id="00" * 32,
        algorithm=1,
        key_store="hsm",
        domain_key_version=1,
        wrapped=b"",
        created=1.5,
    )
    opened = open_installation(config)
    try:
        opened.storage.load()
        opened.storage.commit([Insert(key), Insert(deleted)], None)
    finally:
        opened.close()
    config = replace(config, hsm=token(softhsm))
    assert move(config, private) == 0
    opened = open_installation(config)
    try:
        opened.storage.load()
        assert [material for material, _ in opened.storage.find_all(KeyMaterial)] == [deleted]
    finally:
        opened.close()


def test_other_keys_than_those_of_the_beginning_do_not_move(
    data: Path, softhsm: SoftHsm, private: Path, public: Path, key: rsa.RSAPrivateKey
) -> None:
    """Whoever can write to the database can wrap a key of theirs for the holder of the recovery key."""
    config, new = installed(data, token(softhsm), public), token(softhsm)
    fingerprint = recovery_fingerprint(read_domain_keys(config.database)[1])
    with closing(sqlite3.connect(config.database)) as connection, connection:
        planted = for_holder(key.public_key(), bytes(32))
        connection.execute("UPDATE domain_keys SET recovery = ? WHERE purpose = 'row-authentication'", (planted,))
    told = "^the fingerprint is another one: these are not the keys that the installation was made with$"
    with pytest.raises(HsmError, match=told):
        move(replace(config, hsm=new), private, fingerprint)
    assert keys_in(softhsm, new) == 0


def test_what_is_in_the_token_already_is_not_destroyed_unasked(
    data: Path, softhsm: SoftHsm, private: Path, public: Path, tmp_path: Path
) -> None:
    """It may be what another copy of the installation works with."""
    config, new = installed(data, token(softhsm), public), token(softhsm)
    shutil.copytree(data, tmp_path / "copy")
    moved = replace(config, hsm=new)
    assert move(moved, private) == 0
    copy = replace(read_config(tmp_path / "copy" / "strongroom.yaml"), hsm=new)
    with pytest.raises(HsmError, match="the token has a key strongroom integrity v2 of this installation already"):
        move(copy, private)
    assert app.WRONG not in {finding.verdict for finding in app.diagnose(moved)}
    assert move(copy, private, discard_unfinished=True) == 0
    assert app.WRONG in {finding.verdict for finding in app.diagnose(moved)}


def test_once_it_is_committed_its_keys_stay(
    data: Path, softhsm: SoftHsm, private: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(installed(data, token(softhsm), public), hsm=token(softhsm))

    def interrupted(log: AuditLog, event: CloudTrailRecord, writes: Sequence[Write], commit: Commit) -> Position:
        commit_recorded(log, event, writes, commit)
        raise StorageError("change 2 is made, but its audit record could not be written")

    monkeypatch.setattr(moving, "commit_recorded", interrupted)
    with pytest.raises(StorageError, match="change 2 is made"):
        move(config, private)
    assert app.WRONG not in {finding.verdict for finding in app.diagnose(config)}


def test_nothing_moves_beneath_a_server(data: Path, softhsm: SoftHsm, private: Path, public: Path) -> None:
    config = installed(data, token(softhsm), public)
    with serving(config), serving(config), pytest.raises(ConfigurationError, match=r"^a server runs: stop it first$"):
        move(replace(config, hsm=token(softhsm)), private)
    with alone(config), pytest.raises(ConfigurationError, match="is being moved"), serving(config):
        pytest.fail("somebody is alone with it")


@contextmanager
def opened(config: Config) -> Iterator[tuple[Opened, ExternalKeys]]:
    """An installation, and its external keys."""
    opened = open_installation(config)
    try:
        opened.storage.load()
        yield opened, served_external_keys(opened, key_store_of(opened))
    finally:
        opened.close()


def test_external_keys_move_too(data: Path, softhsm: SoftHsm, private: Path, public: Path) -> None:
    config = installed(data, token(softhsm), public)
    with opened(config) as (here, keys):
        old = [keys.new(prefix, "key-1", 1.5) for prefix in ("", "/tenant")]
        encrypted = [keys.open(one).encrypt(b"plaintext", b"aad", integrity=True) for one in old]
        here.storage.commit(list(map(Insert, old)), None)
    config = replace(config, hsm=token(softhsm))
    assert move(config, private) == 2
    with opened(config) as (here, keys):
        moved = sorted((one for one, _ in here.storage.find_all(ExternalKey)), key=lambda one: one.prefix)
        for before, after, sealed in zip(old, moved, encrypted, strict=True):
            assert after.wrapped != before.wrapped
            assert after.recovery == before.recovery
            assert after.recovery is not None
            assert after.domain_key_version == 2
            assert replace(after, wrapped=before.wrapped, domain_key_version=1) == before
            parts = sealed.ciphertext, sealed.iv, sealed.tag, sealed.metadata
            assert keys.open(after).decrypt(*parts, b"aad") == b"plaintext"


def test_what_was_in_the_old_token_before_does_not_move(
    data: Path, softhsm: SoftHsm, private: Path, public: Path
) -> None:
    old, new = token(softhsm), token(softhsm)
    config = installed(data, old, public)
    usable = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT, token=True)
    template = Template({**usable, p11.CKA_VALUE_LEN: 32, p11.CKA_LABEL: b"their key"})
    with logged_in(softhsm, old.token) as session:
        session.generate_key(Mechanism(p11.CKM_AES_KEY_GEN), template)
    with opened(config) as (here, keys):
        here.storage.commit([Insert(keys.attach("/tenant", "key-1", "their key", 1.5, uses=0))], None)
    told = "^the external key key-1 of /tenant cannot be moved: it is the object 'their key' of the old token$"
    with pytest.raises(HsmError, match=told):
        move(replace(config, hsm=new), private)
    assert keys_in(softhsm, new) == 0
    assert app.WRONG not in {finding.verdict for finding in app.diagnose(config)}
