"""What protects an installation, made and opened as its configuration says; what fails leaves nothing in the token."""

import errno
import os
import uuid
from pathlib import Path

import pytest

from strongroom import app
from strongroom.app import installing
from strongroom.app.hardware import made_in_token, new_protection, opened_protection, place_of
from strongroom.config import Config, Hsm, HsmPin
from strongroom.errors import ConfigurationError, DataDirectoryError, HsmError
from strongroom.keystores.domain_keys import generate_domain_keys
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.domain_keys import PURPOSES
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import logged_in, new_token

pytestmark = pytest.mark.usefixtures("proven_before")
INSTALLATION_ID = str(uuid.uuid4())


@pytest.fixture
def token(softhsm: SoftHsm) -> Hsm:
    """An empty token."""
    return Hsm(LIBRARY, new_token(softhsm), HsmPin(file=softhsm.pin_file))


def config(tmp_path: Path, hsm: Hsm | None) -> Config:
    return Config(data=tmp_path, root_key=tmp_path / "root.key", hsm=hsm)


def keys_in(softhsm: SoftHsm, token: Hsm) -> int:
    with logged_in(softhsm, token.token) as session:
        return len(session.find(Template({p11.CKA_TOKEN: True})))


def test_domain_keys_stay_when_all_went_well(tmp_path: Path, softhsm: SoftHsm, token: Hsm) -> None:
    with new_protection(config(tmp_path, token), INSTALLATION_ID) as root:
        assert root.unwrap(root.wrap(b"secret", ("a",)), ("a",)) == b"secret"
    assert keys_in(softhsm, token) == len(PURPOSES)
    assert list(tmp_path.iterdir()) == []
    told = "^the token has a key strongroom integrity v1 of this installation already$"
    with pytest.raises(HsmError, match=told), new_protection(config(tmp_path, token), INSTALLATION_ID):
        pytest.fail("it is made once")
    assert keys_in(softhsm, token) == len(PURPOSES)


def test_a_failure_leaves_no_keys_of_its_own_and_all_others(tmp_path: Path, softhsm: SoftHsm, token: Hsm) -> None:
    with made_in_token(config(tmp_path, token), token, INSTALLATION_ID, 1, needed=lambda: False):
        pass
    with (
        pytest.raises(ZeroDivisionError),
        made_in_token(config(tmp_path, token), token, INSTALLATION_ID, 2, needed=lambda: False),
    ):
        raise ZeroDivisionError
    with (
        pytest.raises(ZeroDivisionError),
        made_in_token(config(tmp_path, token), token, str(uuid.uuid4()), 1, needed=lambda: False),
    ):
        raise ZeroDivisionError
    assert keys_in(softhsm, token) == len(PURPOSES)


def test_an_installation_that_cannot_be_finished_leaves_no_keys(
    tmp_path: Path, softhsm: SoftHsm, token: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(installing, "create_storage", full)
    with pytest.raises(DataDirectoryError, match=r"No space left on device$"):
        app.initialize(tmp_path / "data", region="us-east-1", port=0, account=None, hsm=token, now=0.0)
    assert keys_in(softhsm, token) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_way_that_is_none_is_named(tmp_path: Path, token: Hsm) -> None:
    unknown = Hsm(token.library, token.token, token.pin, ("direct-gcm", "anything"))
    told = r"^hsm\.allow names 'anything'; the weaker ways are direct-gcm, "
    with pytest.raises(ConfigurationError, match=told):
        place_of(config(tmp_path, unknown), unknown)


def test_a_root_key_and_an_hsm_do_not_take_each_others_place(tmp_path: Path, token: Hsm) -> None:
    with new_protection(config(tmp_path, None), INSTALLATION_ID) as root:
        in_file = generate_domain_keys(root, INSTALLATION_ID, 0.0).records
    with new_protection(config(tmp_path, token), INSTALLATION_ID) as root:
        in_token = generate_domain_keys(root, INSTALLATION_ID, 0.0, in_hsm=True).records
    told = "^this installation has a root key file: its keys cannot be moved into an HSM$"
    with pytest.raises(ConfigurationError, match=told):
        opened_protection(config(tmp_path, token), INSTALLATION_ID, in_file).__enter__()
    told = "^the keys of this installation are in an HSM: the configuration must name it$"
    with pytest.raises(ConfigurationError, match=told):
        opened_protection(config(tmp_path, None), INSTALLATION_ID, in_token).__enter__()
    with opened_protection(config(tmp_path, token), INSTALLATION_ID, in_token) as protection:
        assert protection.hsm is not None
        protection.hsm.token.close()


def test_a_token_without_the_keys_is_refused_and_left_closed(tmp_path: Path, softhsm: SoftHsm, token: Hsm) -> None:
    with new_protection(config(tmp_path, token), INSTALLATION_ID) as root:
        records = generate_domain_keys(root, INSTALLATION_ID, 0.0, in_hsm=True).records
    another = Hsm(LIBRARY, new_token(softhsm), token.pin)
    with pytest.raises(HsmError, match=r"^the token has no key 'strongroom integrity v1' of installation "):
        opened_protection(config(tmp_path, another), INSTALLATION_ID, records).__enter__()
    assert place_of(config(tmp_path, another), another).module.epoch == 0
