"""The external key store, connected: each KMS key has an external key besides its own material."""

from collections.abc import Callable, Collection, Sequence

from strongroom.errors import ConnectionFailedError, XksKeyInvalidConfiguration
from strongroom.keystores.contract import KeyStore, SymmetricKey
from strongroom.keystores.external.failures import ProxyError
from strongroom.keystores.external.layers import ExternalSymmetricKey
from strongroom.keystores.external.messages import KeyMetadata
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.threads import ProxyThreads
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.model.key import KeyMaterial, KmsKey

_KEY_SPEC = "AES_256"
_KEY_STATUS = "ENABLED"
_KEY_USAGE = frozenset({"ENCRYPT", "DECRYPT"})


class ExternalKeyStore:
    """Implements `CustomKeyStoreConnection`."""

    def __init__(self, default: KeyStore, proxy: Proxy, on_ended: Callable[[float], None] = lambda _: None) -> None:
        """`default` makes and opens the material of the inner layer. `on_ended` is told how long each call took."""
        self._default = default
        self._proxy = proxy
        self._calls = ProxyThreads(on_ended)

    @property
    def calls(self) -> ProxyThreads:
        """Where its methods must run. It throttles; when all of its threads hang, calls fail at once."""
        return self._calls

    def connect(self, request_id: str) -> None:
        """See that the proxy answers us, and an external key manager behind it. Raises ConnectionFailedError."""
        try:
            self._proxy.check_health(request_id, "ConnectCustomKeyStore")
        except ProxyError as error:
            raise ConnectionFailedError(error.connection_error_code, str(error)) from error

    def check(self, request_id: str) -> str | None:
        """What the proxy says that is wrong, or what is wrong with it; None if all is well."""
        try:
            health = self._proxy.check_health(request_id, "KmsHealthCheck")
        except ProxyError as error:
            return str(error)
        unwell = [manager for manager in health.ekm_fleet_details if manager.health_status != "ACTIVE"]
        return (
            f"{len(unwell)} of {len(health.ekm_fleet_details)} external key managers are not active" if unwell else None
        )

    def new_material(self, use: KeyStoreUse, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """See that the external key can be used, and make the material of the inner layer.

        Raises XksKeyNotFound, XksKeyInvalidConfiguration, CustomKeyStoreInvalidState, UnsupportedOperation.
        """
        try:
            metadata = self._proxy.key_metadata(use, _xks_key_id(key))
        except ProxyError as error:
            raise error.of_create_key() from error
        _check(metadata)
        return self._default.generate(key, material_id=material_id, created=created)

    def discard(self, key: KmsKey, material_id: str) -> None:
        """Nothing was made outside."""

    def destroy(self, key_arn: str, material_ids: Sequence[str]) -> Collection[str]:  # noqa: ARG002
        """Nothing: external keys are their manager's."""
        return ()

    def open_symmetric(self, use: KeyStoreUse, key: KmsKey, material: KeyMaterial) -> SymmetricKey:
        """Open the material of a key for one use. The proxy is not asked yet."""
        inner = self._default.open_symmetric(key, material)
        named = use._replace(key_arn=key.arn)
        return ExternalSymmetricKey(inner, material.material_id, self._proxy, named, _xks_key_id(key))

    def random_bytes(self, length: int) -> bytes:
        """Return random bytes of the default key store: a proxy has none to give."""
        return self._default.random_bytes(length)

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        self._default.forget(region, material_id)

    def close(self) -> None:
        """Disconnect. Calls that are under way are not cut short; the threads end with the last of them."""
        self._proxy.close()
        self._calls.stop()


def _xks_key_id(key: KmsKey) -> str:
    assert key.xks_key_id is not None, "each key of an external key store has one"
    return key.xks_key_id


def _check(metadata: KeyMetadata) -> None:
    """Raise XksKeyInvalidConfiguration unless an external key can be a KMS key's."""
    if metadata.key_spec != _KEY_SPEC:
        raise XksKeyInvalidConfiguration(
            f"The key spec of the external key must be {_KEY_SPEC}. The key spec of specified external key is "
            f"{metadata.key_spec}."
        )
    if metadata.key_status != _KEY_STATUS:
        raise XksKeyInvalidConfiguration(
            f"The status of the external key must be {_KEY_STATUS}. The status of specified external key is "
            f"{metadata.key_status}."
        )
    if not set(metadata.key_usage) >= _KEY_USAGE:
        raise XksKeyInvalidConfiguration(
            "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external "
            f"key is {', '.join(metadata.key_usage)}."
        )
