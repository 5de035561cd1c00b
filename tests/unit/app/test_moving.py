"""What cannot be moved is refused, and nothing is changed by it. The whole drill is in tests/e2e/test_hsm.py."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec.structs import replace

from strongroom import app
from strongroom.config import Config, Hsm, HsmPin, read_config
from strongroom.errors import ConfigurationError, HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.domain_keys import PURPOSES
from strongroom.keystores.hsm.module import Template
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import logged_in, new_token

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


def move(config: Config, private: Path) -> int:
    return app.move_to_token(config, private, lambda: None, time.time())


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
