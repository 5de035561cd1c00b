"""A backup whose keys are in a token is opened by a token with the same keys, or by the recovery key."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from strongroom import app
from strongroom.app.installing import open_installation
from strongroom.config import Config, Hsm, HsmPin, read_config
from strongroom.errors import ConfigurationError, HsmError, RootKeyError
from strongroom.keystores.domain_keys import recovery_fingerprint
from strongroom.model.key import KmsKey
from strongroom.storage.contract import Insert
from strongroom.storage.sqlite import read_domain_keys
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import new_token
from tests.keys import kms_key

KEY = kms_key()
pytestmark = pytest.mark.usefixtures("proven_before")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture
def private(tmp_path: Path, key: rsa.RSAPrivateKey) -> Path:
    path = tmp_path / "private.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def token(softhsm: SoftHsm) -> Hsm:
    return Hsm(LIBRARY, new_token(softhsm), HsmPin(file=softhsm.pin_file))


@pytest.fixture
def config(data: Path, softhsm: SoftHsm, key: rsa.RSAPrivateKey, tmp_path: Path) -> Config:
    """An installation with a KMS key, and its backup."""
    public = tmp_path / "public.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    app.initialize(
        data, region="us-east-1", port=0, account=None, hsm=token(softhsm), recovery_key=public, now=time.time()
    )
    config = read_config(data / "strongroom.yaml")
    opened = open_installation(config)
    opened.storage.load()
    opened.storage.commit([Insert(KEY)], None)
    opened.close()
    app.back_up(config, tmp_path / "backup", time.time())
    return config


def keys(data: Path) -> list[KmsKey]:
    opened = open_installation(read_config(data / "strongroom.yaml"))
    opened.storage.load()
    found = [key for key, _ in opened.storage.find_all(KmsKey)]
    opened.close()
    return found


def test_by_a_token_with_the_same_keys_and_no_other(config: Config, softhsm: SoftHsm, tmp_path: Path) -> None:
    assert config.hsm is not None
    log = [config.audit_directory]
    restored = app.restore(
        tmp_path / "backup", tmp_path / "elsewhere", app.ByToken(config.hsm), audit=log, now=time.time()
    )
    assert (restored.left, restored.damage) == ([], [])
    assert keys(tmp_path / "elsewhere") == [KEY]
    assert not (tmp_path / "elsewhere" / "root.key").exists()
    with pytest.raises(HsmError):
        app.restore(tmp_path / "backup", tmp_path / "other", app.ByToken(token(softhsm)), audit=log, now=time.time())
    assert not (tmp_path / "other").exists()


def test_by_the_recovery_key_if_every_token_is_lost(
    config: Config, softhsm: SoftHsm, tmp_path: Path, private: Path
) -> None:
    fingerprint = recovery_fingerprint(read_domain_keys(config.database)[1])
    log, new = [config.audit_directory], token(softhsm)
    opener = app.ByRecoveryKey(private, bytes, "0" * 64, new)
    with pytest.raises(HsmError, match="the fingerprint is another one"):
        app.restore(tmp_path / "backup", tmp_path / "elsewhere", opener, audit=log, now=time.time())
    opener = opener._replace(fingerprint=fingerprint)
    app.restore(tmp_path / "backup", tmp_path / "elsewhere", opener, audit=log, now=time.time())
    moved = read_config(tmp_path / "elsewhere" / "strongroom.yaml")
    app.move_to_token(moved, private, lambda: None, fingerprint=fingerprint, discard_unfinished=False, now=time.time())
    assert keys(tmp_path / "elsewhere") == [KEY]
    assert app.verify_audit(moved).findings == []


def test_there_is_no_root_key_to_export_or_import(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no root key: the keys are in an HSM; back its token up"):
        app.export_root_key(config, tmp_path / "exported", b"correct horse battery", now=time.time())
    with pytest.raises(ConfigurationError, match="there is no root key: the keys are in an HSM; connect the token"):
        app.import_root_key(config, tmp_path / "exported", bytes)
    assert not (tmp_path / "exported").exists()


def test_a_root_key_opens_no_backup_of_a_token(config: Config, tmp_path: Path) -> None:
    app.initialize(tmp_path / "other", region="us-east-1", port=0, account=None, now=time.time())
    opener = app.ByRootKey(tmp_path / "other" / "root.key", bytes)
    with pytest.raises((ConfigurationError, RootKeyError), match="the keys of this installation are in an HSM"):
        app.restore(tmp_path / "backup", tmp_path / "data2", opener, audit=[config.audit_directory], now=time.time())
