"""Who calls with a token of an identity provider instead of a signature (AWS: AssumeRoleWithWebIdentity).

The issuer must be registered in the account of the role that is asked for; nobody else is ever asked for keys.
"""

from strongroom.audit.record import user_identity
from strongroom.authentication import Caller
from strongroom.authorization.identity import Identity
from strongroom.directory import Credential
from strongroom.errors import InvalidIdentityToken
from strongroom.messages.declaration import Structure
from strongroom.messages.sts.sessions import AssumeRoleWithWebIdentityRequest
from strongroom.model.iam import IdentityProvider
from strongroom.model.principal import Principal
from strongroom.snapshot import LiveSnapshot, Snapshot
from strongroom.web_identity.issuers import Issuers
from strongroom.web_identity.tokens import Claims, Key, claimed_issuer, fitting_key, verify

_REGION = "us-east-1"
"""Nobody signs for a Region: these requests are recorded where AWS records those to its global endpoint."""


class Federation:
    """Tells whom identity providers vouch for. For one event loop."""

    def __init__(self, state: LiveSnapshot, issuers: Issuers) -> None:
        self._state = state
        self._issuers = issuers

    async def identify(self, request: Structure, now: float, snapshot: Snapshot) -> Caller:
        """The caller that a token speaks of, who is sought in `snapshot`. `now` is in seconds since the epoch.

        Raises InvalidIdentityToken, ExpiredIdentityToken or IDPCommunicationError.
        """
        assert isinstance(request, AssumeRoleWithWebIdentityRequest), "no other operation is asked for so"
        assert request.role_arn is not None, "the model requires it"
        assert request.web_identity_token is not None, "the model requires it"
        token = request.web_identity_token
        issuer = claimed_issuer(token)
        provider = _provider(snapshot, request.role_arn, issuer)
        key = await self._key(provider, issuer, token)
        snapshot = await self._state.confirm() if self._state.stale else self._state.current()
        provider = _provider(snapshot, request.role_arn, issuer)  # it may be gone, or changed, meanwhile
        claims = verify(token, key, issuer=issuer, client_ids=provider.client_ids, now=now)
        principal = _principal(provider, claims)
        return Caller(Credential(Identity(principal), user_identity(principal), ""), _REGION, snapshot)

    async def _key(self, provider: IdentityProvider, issuer: str, token: str) -> Key:
        """The key that signed a token. An issuer is asked anew for one that is not known yet."""
        for unknown in (False, True):
            key = fitting_key(await self._issuers.keys(issuer, provider.thumbprints, unknown=unknown), token)
            if key is not None:
                return key
        raise InvalidIdentityToken("No key of the identity provider fits the token")


def _provider(snapshot: Snapshot, role_arn: str, issuer: str) -> IdentityProvider:
    """The provider of this issuer in the account of a role. Raises InvalidIdentityToken."""
    _, _, rest = role_arn.partition("::")
    directory = snapshot.directories.get(rest.partition(":")[0])
    url = issuer.removeprefix("https://").removesuffix("/")
    found = None if directory is None or not issuer.startswith("https://") else directory.providers.get(url)
    if found is None:
        raise InvalidIdentityToken(f"No OpenIDConnect provider found in your account for {issuer}")
    return found.record


def _principal(provider: IdentityProvider, claims: Claims) -> Principal:
    """Whom a verified token speaks of, with the condition keys that AWS gives it (`host/path:aud` and so on)."""
    values = {
        "aud": (claims.audience,),
        "sub": (claims.subject,),
        "oaud": claims.original_audience,
        "amr": claims.methods,
        "email": () if claims.email is None else (claims.email,),
    }
    return Principal(
        "WebIdentityUser",
        provider.arn,
        provider.account,
        f"{provider.arn}:{claims.audience}:{claims.subject}",
        "",
        issuer_arn=provider.arn,
        federated_provider=provider.arn,
        claims=tuple((f"{provider.url}:{name}".lower(), found) for name, found in values.items() if found),
    )
