"""The decision whether a request to the XKS proxy may act on an external key: by the rules of its key store alone."""

from msgspec import UNSET, Struct

from strongroom.authorization.xks_rules import Asked, decide, parse_rules
from strongroom.errors import AccessDenied
from strongroom.messages.xks import RequestMetadata
from strongroom.model.xks import ExternalKey

_DECIDED = object()
"""Known to this module only: what it made was decided here."""


class AuthorizedExternalKey(Struct, frozen=True):
    """An external key that a request may act on. Only this module makes one."""

    seal: object
    key: ExternalKey

    def __post_init__(self) -> None:
        if self.seal is not _DECIDED:
            raise TypeError("an AuthorizedExternalKey comes from the decision alone")

    def __repr__(self) -> str:
        return f"AuthorizedExternalKey({self.key!r})"


def authorize_by_rules(key: ExternalKey, call: str, rules: str, metadata: RequestMetadata) -> AuthorizedExternalKey:
    """Decide by the rules of a key store, JSON; without any, whoever signs for it may. Raises AccessDenied."""
    asked = Asked(
        key=key.external_key_id,
        call=call,
        operation=metadata.kms_operation,
        principal=None if metadata.aws_principal_arn is UNSET else metadata.aws_principal_arn,
        kms_key=None if metadata.kms_key_arn is UNSET else metadata.kms_key_arn,
        via_service=None if metadata.kms_via_service is UNSET else metadata.kms_via_service,
        source_vpc=None if metadata.aws_source_vpc is UNSET else metadata.aws_source_vpc,
        source_vpce=None if metadata.aws_source_vpce is UNSET else metadata.aws_source_vpce,
    )
    if rules and not decide(parse_rules(rules), asked):
        raise AccessDenied("The rules of the key store do not allow it.")
    return AuthorizedExternalKey(_DECIDED, key)
