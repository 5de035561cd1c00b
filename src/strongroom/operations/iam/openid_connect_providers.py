"""OpenID Connect providers, whose tokens roles may trust."""

import re
from collections.abc import Iterable, Sequence

from strongroom.errors import EntityAlreadyExists, InvalidInput, LimitExceeded, Validation
from strongroom.messages.iam import openid_connect_providers as messages
from strongroom.model.iam import IdentityProvider
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import changed, check_quota, provider_of_arn, with_tagging
from strongroom.operations.iam.tags import requested_tags
from strongroom.operations.iam.told import told_tags
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert

_MAX_PROVIDERS = 100
_MAX_CLIENT_IDS = 100
_MAX_THUMBPRINTS = 5
_URL = re.compile(r"https://([A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?)")
_THUMBPRINT = re.compile("[0-9A-Fa-f]{40}")


def create_provider_targets(request: messages.CreateOpenIDConnectProviderRequest) -> list[IdentityTarget]:
    """The provider to register."""
    made = IdentityTarget("iam:CreateOpenIDConnectProvider", "oidc-provider", None, f"/{_url(request)}")
    return with_tagging(made, request.tags)


def create_provider(
    call: Call, request: messages.CreateOpenIDConnectProviderRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: CreateOpenIDConnectProvider."""
    url = _url(request)
    if url in call.directory.providers:
        raise EntityAlreadyExists(f"Provider with url {request.url} already exists.")
    check_quota(len(call.directory.providers), "OpenIdConnectProvidersPerAccount", _MAX_PROVIDERS)
    client_ids = tuple(dict.fromkeys(request.client_id_list or ()))
    _check_client_ids(client_ids)
    tags = requested_tags(request.tags, "IdentityProvider")
    thumbprints = _thumbprints(request.thumbprint_list)
    provider = IdentityProvider(call.account, url, float(int(call.now)), client_ids, thumbprints, tags)
    response = messages.CreateOpenIDConnectProviderResponse(
        open_id_connect_provider_arn=provider.arn, tags=told_tags(tags) or None
    )
    return call.identity_change(response, Insert(provider))


def get_provider(
    call: Call, request: messages.GetOpenIDConnectProviderRequest, _nothing: Sequence[object]
) -> messages.GetOpenIDConnectProviderResponse:
    """AWS: GetOpenIDConnectProvider."""
    provider, _ = provider_of_arn(call, request.open_id_connect_provider_arn)
    return messages.GetOpenIDConnectProviderResponse(
        url=provider.url,
        client_id_list=provider.client_ids,
        thumbprint_list=provider.thumbprints,
        create_date=provider.created,
        tags=told_tags(provider.tags),
    )


def list_providers_targets(_request: messages.ListOpenIDConnectProvidersRequest) -> list[IdentityTarget]:
    """The providers of the account."""
    return [IdentityTarget("iam:ListOpenIDConnectProviders", "oidc-provider", None, "/*")]


def list_providers(
    call: Call, _request: messages.ListOpenIDConnectProvidersRequest, _nothing: Sequence[object]
) -> messages.ListOpenIDConnectProvidersResponse:
    """AWS: ListOpenIDConnectProviders."""
    arns = sorted(provider.record.arn for provider in call.directory.providers.values())
    entries = tuple(messages.OpenIDConnectProviderListEntry(arn=arn) for arn in arns)
    return messages.ListOpenIDConnectProvidersResponse(open_id_connect_provider_list=entries)


def delete_provider(
    call: Call, request: messages.DeleteOpenIDConnectProviderRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: DeleteOpenIDConnectProvider. Its tokens make no more sessions; those that were made go on.

    One that is not there is gone already.
    """
    provider = call.directory.provider(request.open_id_connect_provider_arn or "")
    return call.identity_change(None, *([] if provider is None else [Delete(*provider)]))


def add_client_id(
    call: Call, request: messages.AddClientIDToOpenIDConnectProviderRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: AddClientIDToOpenIDConnectProvider. One that is there stays."""
    provider = provider_of_arn(call, request.open_id_connect_provider_arn)
    client_ids = tuple(dict.fromkeys((*provider.record.client_ids, request.client_id or "")))
    _check_client_ids(client_ids)
    return changed(call, provider, client_ids=client_ids)


def remove_client_id(
    call: Call, request: messages.RemoveClientIDFromOpenIDConnectProviderRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: RemoveClientIDFromOpenIDConnectProvider. One that is not there is gone already."""
    provider = provider_of_arn(call, request.open_id_connect_provider_arn)
    left = tuple(one for one in provider.record.client_ids if one != request.client_id)
    return changed(call, provider, client_ids=left)


def update_thumbprints(
    call: Call, request: messages.UpdateOpenIDConnectProviderThumbprintRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: UpdateOpenIDConnectProviderThumbprint."""
    provider = provider_of_arn(call, request.open_id_connect_provider_arn)
    return changed(call, provider, thumbprints=_thumbprints(request.thumbprint_list))


def _url(request: messages.CreateOpenIDConnectProviderRequest) -> str:
    """The URL of a provider without its scheme. Raises Validation."""
    found = _URL.fullmatch(request.url or "")
    if found is None:
        raise Validation("Invalid Open ID Connect Provider URL")
    return found[1].removesuffix("/")


def _check_client_ids(client_ids: Sequence[str]) -> None:
    if len(client_ids) > _MAX_CLIENT_IDS:
        raise LimitExceeded(f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {_MAX_CLIENT_IDS}")


def _thumbprints(asked_for: Iterable[str] | None) -> tuple[str, ...]:
    thumbprints = tuple(dict.fromkeys(one.lower() for one in asked_for or ()))
    if len(thumbprints) > _MAX_THUMBPRINTS:
        raise InvalidInput(f"Thumbprint list must contain fewer than {_MAX_THUMBPRINTS} entries.")
    if not all(map(_THUMBPRINT.fullmatch, thumbprints)):
        raise Validation("Invalid thumbprint: 40 hexadecimal digits are wanted.")
    return thumbprints
