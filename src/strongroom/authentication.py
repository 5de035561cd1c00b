"""Who calls: step 3 of the order of checks, and the services that call for others.

1. The request says who signed it, when and for what (`sigv4/authorization.py`); to STS it may say so in a query string
   (`sigv4/presigned.py`).
2. The access key is a user's, a root user's or a service's, and active; with a session token, the session's.
3. The session has not ended, whom it was made for is still there, and its sessions were not revoked since.
4. The signature is right (`sigv4/verify.py`).

The XKS proxy has credentials of its own, each for one of its key stores; what it takes of them is limited.

Then, for a service, and for whoever names a user in `x-strongroom-on-behalf-of` (a signed header, as all of ours must
be):

5. Nobody but a service may name another, and a service calls only what the operator declared for it.
6. The user, or the session, is there, and its account is one that was declared for the service.
7. The request was not sent before: it has a nonce in `x-strongroom-nonce` that the service did not use yet.
"""

import hashlib
import json
from collections.abc import Container
from functools import lru_cache
from typing import NamedTuple

from msgspec import structs

from strongroom.audit.record import user_identity, user_identity_of_proxy_client
from strongroom.authorization.documents import compile_identity_policy
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.directory import Credential, HeldKey
from strongroom.errors import XKS_PROXY, AccessDenied, ExpiredToken, InvalidUriPath, UnrecognizedClient
from strongroom.keystores.session_tokens import SessionTokens
from strongroom.messages.xks import route
from strongroom.model.arn import root_arn
from strongroom.model.exchange import Incoming
from strongroom.model.principal import Principal, Service
from strongroom.model.session import Session
from strongroom.model.xks import XksStore
from strongroom.operations.operation import Operation
from strongroom.sigv4.authorization import Authorization, read_authorization
from strongroom.sigv4.canonical import fold_headers
from strongroom.sigv4.presigned import is_presigned, read_query_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import derive_signing_key
from strongroom.sigv4.verify import verify
from strongroom.snapshot import LiveSnapshot, Snapshot

_ON_BEHALF_OF = b"x-strongroom-on-behalf-of"
_NONCE = b"x-strongroom-nonce"
_NONCE_LENGTHS = range(16, 129)
"""Characters of a nonce."""
_SESSIONS = 1024
"""Sessions that a process keeps opened."""


class Caller(NamedTuple):
    """An authenticated caller: who, for which Region they signed, and the state in which that was so.

    `service` is set for a service's own credential, `xks_store` for one of a key store of the XKS proxy.
    """

    credential: Credential
    region: str
    snapshot: Snapshot
    service: Service | None = None
    xks_store: XksStore | None = None


class OnBehalf(NamedTuple):
    """The user that a service calls for, and the nonce of the request."""

    caller: Caller
    nonce: str


class Authenticator:
    """Tells who calls. For one event loop."""

    def __init__(self, state: LiveSnapshot, session_tokens: SessionTokens, regions: Container[str]) -> None:
        self._state = state
        self._regions = regions
        self._signing_key = lru_cache(maxsize=4096)(derive_signing_key)
        self._open = lru_cache(maxsize=_SESSIONS)(session_tokens.open)

    def authenticate(self, incoming: Incoming, service: str, now: float, snapshot: Snapshot | None = None) -> Caller:
        """Steps 1 to 4, by a state, or the current one.

        Raises the signature errors of the order of checks, UnrecognizedClient or ExpiredToken.

        Of the XKS proxy, InvalidUriPath before all else.
        """
        if service == XKS_PROXY:
            return self._proxy_client(incoming, now, snapshot or self._state.current())
        signed = SignedRequest(incoming.method, incoming.path, incoming.query, incoming.headers)
        if service == "sts" and incoming.method == "GET" and is_presigned(signed):  # 1
            signed, authorization = read_query_authorization(signed, service=service, regions=self._regions, now=now)
        else:
            authorization = read_authorization(signed, service=service, regions=self._regions, now=now)
        snapshot = snapshot or self._state.current()
        caller = self._claimed(authorization, snapshot, now)  # 2, 3
        signing_key = self._signing_key(caller.credential.secret, authorization.date, authorization.region, service)
        payload_sha256 = hashlib.sha256(incoming.body).hexdigest()
        verify(signed, authorization, payload_sha256=payload_sha256, signing_key=signing_key)  # 4
        return caller

    def _proxy_client(self, incoming: Incoming, now: float, snapshot: Snapshot) -> Caller:
        """Steps 1 to 4 for the XKS proxy: the access key is the key store's, which the path names."""
        where = route(incoming.path.decode("latin-1"))
        store = None if where is None else snapshot.xks_stores.get(where.prefix)
        if store is None:
            raise InvalidUriPath("Nothing is served at this path.")
        signed = SignedRequest(incoming.method, incoming.path, incoming.query, incoming.headers)
        authorization = read_authorization(signed, service=XKS_PROXY, regions=_ANY_REGION, now=now)  # 1
        held = snapshot.xks_credentials.get(authorization.access_key_id)  # 2
        if held is None or held.record.prefix != store.record.prefix:
            raise _unrecognized()
        signing_key = self._signing_key(held.secret, authorization.date, authorization.region, XKS_PROXY)
        payload_sha256 = hashlib.sha256(incoming.body).hexdigest()
        verify(signed, authorization, payload_sha256=payload_sha256, signing_key=signing_key)  # 4
        credential = _proxy_credential(store.record.prefix, authorization.access_key_id)
        return Caller(credential, authorization.region, snapshot, xks_store=store.record)

    def on_behalf(self, incoming: Incoming, caller: Caller, operation: Operation, now: float) -> OnBehalf | None:
        """Steps 5 to 7 but for the use of the nonce; None if the caller names nobody.

        Raises AccessDenied, UnrecognizedClient or ExpiredToken.
        """
        service = caller.service
        if service is not None and (operation.service != "kms" or operation.name not in service.operations):  # 5
            raise AccessDenied(f"{service.principal} may not call {operation.name}.")
        if incoming.header(_ON_BEHALF_OF) is None:
            return None
        if service is None:
            raise AccessDenied(f"{caller.credential.identity.principal.arn} is not a service: it acts for nobody else.")
        headers = fold_headers(incoming.headers)  # a header that is given twice names nobody
        user = self._named(headers[_ON_BEHALF_OF].decode("latin-1"), caller.snapshot, now)  # 6
        if user is None or user.principal.account not in service.accounts:
            raise AccessDenied(f"{service.principal} may not act for this principal.")
        nonce = headers.get(_NONCE, b"").decode("latin-1")
        if len(nonce) not in _NONCE_LENGTHS:  # 7
            raise AccessDenied("A request for somebody else has a nonce of 16 to 128 characters in x-strongroom-nonce.")
        principal = structs.replace(user.principal, service=service.name)
        credential = Credential(structs.replace(user, principal=principal), user_identity(principal), "")
        return OnBehalf(caller._replace(credential=credential, service=None), nonce)

    def _claimed(self, authorization: Authorization, snapshot: Snapshot, now: float) -> Caller:
        """Steps 2 and 3."""
        access_key_id, token = authorization.access_key_id, authorization.session_token
        if token is not None:
            session = self._session(token, now)
            credential = snapshot.session_credential(session)
            if credential is None or session.access_key_id != access_key_id:
                raise _unrecognized()
            return Caller(credential, authorization.region, snapshot)
        held = snapshot.service_keys.get(access_key_id)
        if held is not None and held.record.deactivated is None:
            service = snapshot.services[held.record.service or ""].record
            return Caller(_service_credential(service, held), authorization.region, snapshot, service)
        credential = snapshot.credential(access_key_id)
        if credential is None:
            raise _unrecognized()
        return Caller(credential, authorization.region, snapshot)

    def _session(self, token: str, now: float) -> Session:
        """Open a session token. Raises UnrecognizedClient or ExpiredToken."""
        session = self._open(token)
        if now >= session.expires:
            raise ExpiredToken("The security token included in the request is expired")
        return session

    def _named(self, named: str, snapshot: Snapshot, now: float) -> Identity | None:
        """A user or a root user by ARN, or a session by its token: an ARN does not show that there is a session."""
        if not named.startswith("arn:"):
            session = self._session(named, now)
            credential = snapshot.session_credential(session)
            return None if credential is None else credential.identity
        _, _, rest = named.partition("::")
        directory = snapshot.directories.get(rest.partition(":")[0])
        if directory is None:
            return None
        account = directory.account.record.account
        if named == root_arn(account):
            return Identity(Principal("Root", named, account, account, ""))
        user = directory.users.get(directory.unique_id(named) or "")
        return None if user is None else directory.identity_of_user(user.record, "")


def _service_credential(service: Service, held: HeldKey) -> Credential:
    principal = Principal("AWSService", service.principal, "", service.principal, held.record.access_key_id)
    return Credential(Identity(principal, (_limits(service),)), user_identity(principal), held.secret)


@lru_cache(maxsize=1024)
def _proxy_credential(prefix: str, access_key_id: str) -> Credential:
    """Who signs for a key store of the XKS proxy: nobody of any account."""
    principal = Principal("XksClient", prefix, "", prefix, "")
    return Credential(Identity(principal), user_identity_of_proxy_client(prefix, access_key_id), "")


class _AnyRegion:
    """The Regions in which KMS may call the proxy: whichever it says."""

    def __contains__(self, region: object) -> bool:
        return isinstance(region, str) and bool(region)


_ANY_REGION = _AnyRegion()


@lru_cache(maxsize=1024)
def _limits(service: Service) -> Policy:
    """What a service may not do by itself: use the keys of accounts that were not declared."""
    others = {"Null": {"aws:ResourceAccount": "false"}, "StringNotEquals": {"aws:ResourceAccount": service.accounts}}
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": others}
    return compile_identity_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}))


def _unrecognized() -> UnrecognizedClient:
    return UnrecognizedClient("The security token included in the request is invalid.")
