"""Who calls: access keys, sessions, and services that call for others, over a real database."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from msgspec import structs

from strongroom.app.installing import Opened, initialize, new_access_key, open_installation, open_secret
from strongroom.authentication import Authenticator, Caller, OnBehalf
from strongroom.config import read_config
from strongroom.errors import AccessDenied, ExpiredToken, InvalidSignature, RequestError, UnrecognizedClient
from strongroom.model.exchange import Incoming
from strongroom.model.iam import Role, User
from strongroom.model.principal import Account, Service
from strongroom.model.session import Session
from strongroom.operations.registry import OPERATIONS
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.contract import Delete, Insert, Replace, Write

NOW = 1_790_000_000.0
ACCOUNT, OTHER = "111122223333", "222233334444"
REGION = "us-east-1"
USER = User(ACCOUNT, "AIDA2222222222222222", "ann", "/", 1.0)
FOREIGN = User(OTHER, "AIDA3333333333333333", "bob", "/", 1.0)
ROLE = Role(ACCOUNT, "AROA2222222222222222", "reader", "/staff/", 1.0, "{}", (), "", 3600, tags=(("Team", "a"),))
SERVICE = Service("s3", 1.0, (ACCOUNT,), ("Decrypt", "GenerateDataKey"))
SESSION = Session(
    "ASIA2222222222222222", "a secret", ACCOUNT, ROLE.role_id, NOW - 10, NOW + 100, name="work", tags=(("team", "b"),)
)


T = TypeVar("T")


class Installation(NamedTuple):
    """A database with two accounts, a user of each, a role and a service; its access keys by whose they are."""

    opened: Opened
    authenticator: Authenticator
    keys: dict[str, Credential]

    def commit(self, *writes: Write) -> int:
        return self.opened.storage.commit(writes, None).number

    def token(self, session: Session) -> Credential:
        sealed = self.opened.domain_keys.seals.session_tokens.seal(session)
        return Credential(session.access_key_id, session.secret, sealed)

    def authenticate(self, credential: Credential, **headers: str) -> Caller:
        incoming = self.signed(credential, **headers)
        return self.in_loop(lambda: self.authenticator.authenticate(incoming, "kms", NOW))

    def signed(self, credential: Credential, **headers: str) -> Incoming:
        """A request with these headers, signed."""
        sent = [(b"host", b"localhost")]
        sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        request = SignedRequest("POST", b"/", b"", sent)
        sent += sign(request, credential, region=REGION, service="kms", now=NOW, body=b"{}")
        return Incoming("POST", b"/", b"", sent, b"{}", "192.0.2.1")

    def on_behalf(self, credential: Credential, operation: str = "Decrypt", **headers: str) -> OnBehalf | None:
        incoming = self.signed(credential, **headers)

        def both() -> OnBehalf | None:
            caller = self.authenticator.authenticate(incoming, "kms", NOW)
            return self.authenticator.on_behalf(incoming, caller, OPERATIONS["kms", operation], NOW)

        return self.in_loop(both)

    def in_loop(self, call: Callable[[], T]) -> T:
        async def run() -> T:
            return call()

        return asyncio.run(run())


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Installation]:
    initialize(tmp_path / "data", region=REGION, port=1, account=ACCOUNT, now=NOW)
    opened = open_installation(read_config(tmp_path / "data" / "strongroom.yaml"))
    keys: dict[str, Credential] = {}
    writes: list[Write] = [Insert(record) for record in (Account(OTHER, 1.0), USER, FOREIGN, ROLE, SERVICE)]
    for owner, account, members in (
        ("user", ACCOUNT, {"user_id": USER.user_id}),
        ("inactive", ACCOUNT, {"user_id": USER.user_id, "deactivated": 2.0}),
        ("service", "", {"service": "s3"}),
    ):
        key, secret = new_access_key(opened.domain_keys, account, 1.0)
        writes.append(Insert(structs.replace(key, **members)))
        keys[owner] = Credential(key.access_key_id, secret)
    opened.storage.load()
    opened.storage.commit(writes, None)
    state = LiveSnapshot(opened.storage, lambda key: open_secret(opened, key), lambda *_: None)
    yield Installation(opened, Authenticator(state, opened.domain_keys.seals.session_tokens, {REGION}), keys)
    opened.close()


def refused(error: type[RequestError], call: Callable[[], object]) -> None:
    with pytest.raises(error):
        call()


def test_a_user_signs_with_an_active_access_key(made: Installation) -> None:
    principal = made.authenticate(made.keys["user"]).credential.identity.principal
    assert (principal.kind, principal.arn, principal.principal_id) == ("IAMUser", USER.arn, USER.user_id)
    refused(UnrecognizedClient, lambda: made.authenticate(made.keys["inactive"]))
    made.commit(Delete(USER, 2))
    refused(UnrecognizedClient, lambda: made.authenticate(made.keys["user"]))


def test_a_session_signs_with_its_token(made: Installation) -> None:
    caller = made.authenticate(made.token(SESSION))
    principal = caller.credential.identity.principal
    assert principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/work"
    assert (principal.issuer_arn, principal.principal_id) == (ROLE.arn, f"{ROLE.role_id}:work")
    assert principal.tags == (("team", "b"),)
    assert b'"sessionIssuer":{"type":"Role"' in bytes(caller.credential.user_identity)


def test_a_session_that_has_ended_is_refused(made: Installation) -> None:
    made.authenticate(made.token(structs.replace(SESSION, expires=NOW + 1)))
    refused(ExpiredToken, lambda: made.authenticate(made.token(structs.replace(SESSION, expires=NOW))))


def test_a_token_is_of_its_own_access_key_and_secret_alone(made: Installation) -> None:
    credential = made.token(SESSION)
    other = structs.replace(SESSION, access_key_id="ASIA3333333333333333")
    refused(UnrecognizedClient, lambda: made.authenticate(structs.replace(made.token(other), access_key_id="ASIA2")))
    refused(InvalidSignature, lambda: made.authenticate(structs.replace(credential, secret="other")))
    refused(UnrecognizedClient, lambda: made.authenticate(structs.replace(credential, session_token=None)))
    user = structs.replace(made.keys["user"], session_token=credential.session_token)
    refused(UnrecognizedClient, lambda: made.authenticate(user))


def test_a_token_that_was_tampered_with_is_refused(made: Installation) -> None:
    credential = made.token(SESSION)
    assert credential.session_token is not None
    whole = credential.session_token
    changed = whole[:40] + ("A" if whole[40] != "A" else "B") + whole[41:]
    for token in (whole[:-4], changed, "B" + whole[1:], "", "x"):
        refused(UnrecognizedClient, partial(made.authenticate, structs.replace(credential, session_token=token)))


def test_a_role_that_was_made_anew_does_not_revive_sessions(made: Installation) -> None:
    credential = made.token(SESSION)
    made.authenticate(credential)
    number = made.commit(Delete(ROLE, 2))
    refused(UnrecognizedClient, lambda: made.authenticate(credential))
    made.commit(Insert(structs.replace(ROLE, role_id="AROA4444444444444444")))
    assert number > 2
    refused(UnrecognizedClient, lambda: made.authenticate(credential))


@pytest.mark.parametrize("owner", ["role", "user", "root user"])
def test_sessions_from_before_a_time_can_be_refused(made: Installation, owner: str) -> None:
    owners: dict[str, tuple[Account | Role | User, str]] = {
        "role": (ROLE, ROLE.role_id),
        "user": (USER, USER.user_id),
        "root user": (Account(OTHER, 1.0), OTHER),
    }
    record, principal_id = owners[owner]
    account = record.account
    old = structs.replace(SESSION, account=account, principal_id=principal_id)
    new = structs.replace(old, access_key_id="ASIA5555555555555555", issued=NOW)
    made.authenticate(made.token(old))
    made.commit(Replace(structs.replace(record, sessions_not_before=NOW), 2))
    refused(UnrecognizedClient, lambda: made.authenticate(made.token(old)))
    assert made.authenticate(made.token(new)).credential.identity.principal.account == account


NONCE = "0123456789abcdef"


def test_a_service_calls_for_a_user_of_a_declared_account(made: Installation) -> None:
    asked = made.on_behalf(made.keys["service"], x_strongroom_on_behalf_of=USER.arn, x_strongroom_nonce=NONCE)
    assert asked is not None
    principal = asked.caller.credential.identity.principal
    assert (principal.arn, principal.service, asked.nonce) == (USER.arn, "s3", NONCE)
    assert b'"invokedBy":"s3.amazonaws.com"' in bytes(asked.caller.credential.user_identity)
    assert b"accessKeyId" not in bytes(asked.caller.credential.user_identity)
    root = f"arn:aws:iam::{ACCOUNT}:root"
    asked = made.on_behalf(made.keys["service"], x_strongroom_on_behalf_of=root, x_strongroom_nonce=NONCE)
    assert asked is not None
    assert asked.caller.credential.identity.principal.is_root_user


def test_a_service_calls_for_a_session_by_its_token(made: Installation) -> None:
    token = made.token(structs.replace(SESSION, policy='{"Version":"2012-10-17","Statement":[]}')).session_token
    asked = made.on_behalf(made.keys["service"], x_strongroom_on_behalf_of=token or "", x_strongroom_nonce=NONCE)
    assert asked is not None
    identity = asked.caller.credential.identity
    assert identity.principal.principal_id == f"{ROLE.role_id}:work"
    assert identity.session_policies is not None
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/work"
    by_arn = {"x_strongroom_on_behalf_of": session, "x_strongroom_nonce": NONCE}
    refused(AccessDenied, lambda: made.on_behalf(made.keys["service"], **by_arn))
    ended = made.token(structs.replace(SESSION, expires=NOW)).session_token or ""
    by_token = {"x_strongroom_on_behalf_of": ended, "x_strongroom_nonce": NONCE}
    refused(ExpiredToken, lambda: made.on_behalf(made.keys["service"], **by_token))


@pytest.mark.parametrize(
    "headers",
    [
        {"x_strongroom_on_behalf_of": FOREIGN.arn, "x_strongroom_nonce": NONCE},
        {"x_strongroom_on_behalf_of": USER.arn},
        {"x_strongroom_on_behalf_of": USER.arn, "x_strongroom_nonce": "short"},
        {"x_strongroom_on_behalf_of": f"arn:aws:iam::{ACCOUNT}:user/nobody", "x_strongroom_nonce": NONCE},
        {"x_strongroom_on_behalf_of": ROLE.arn, "x_strongroom_nonce": NONCE},
    ],
)
def test_a_service_calls_for_nobody_else(made: Installation, headers: dict[str, str]) -> None:
    refused(AccessDenied, lambda: made.on_behalf(made.keys["service"], **headers))


def test_nobody_but_a_service_calls_for_another(made: Installation) -> None:
    headers = {"x_strongroom_on_behalf_of": USER.arn, "x_strongroom_nonce": NONCE}
    refused(AccessDenied, lambda: made.on_behalf(made.keys["user"], **headers))
    assert made.on_behalf(made.keys["user"]) is None


def test_a_service_calls_what_was_declared_and_nothing_else(made: Installation) -> None:
    assert made.on_behalf(made.keys["service"]) is None
    refused(AccessDenied, lambda: made.on_behalf(made.keys["service"], "Encrypt"))
    headers = {"x_strongroom_on_behalf_of": USER.arn, "x_strongroom_nonce": NONCE}
    refused(AccessDenied, lambda: made.on_behalf(made.keys["service"], "Encrypt", **headers))


def test_our_headers_are_signed_or_refused(made: Installation) -> None:
    incoming = made.signed(made.keys["service"])
    headers = [*incoming.headers, (b"x-strongroom-on-behalf-of", USER.arn.encode())]
    unsigned = structs.replace(incoming, headers=headers)
    refused(
        InvalidSignature,
        lambda: made.in_loop(lambda: made.authenticator.authenticate(unsigned, "kms", NOW)),
    )
