"""What stands for the root key with an HSM: the service's own keys are encrypted in the token. There is no file."""

from collections.abc import Callable

from strongroom.errors import HsmError, IntegrityError, KeyUnavailable, KMSInternal
from strongroom.keystores.hsm.domain_keys import SERVICE_KEYS, TokenKeys
from strongroom.keystores.hsm.failures import Pkcs11Error
from strongroom.keystores.hsm.token import Lease, Token
from strongroom.keystores.hsm.wrapping import ENCRYPTED, Wrapping

_VERSION_LENGTH = 4


class HsmRoot:
    """Implements `domain_keys.Root`."""

    def __init__(self, token: Token[TokenKeys]) -> None:
        self._token = token

    def wrap(self, secret: bytes, binding: tuple[str, ...]) -> bytes:
        """Encrypt `secret` in the token for storage."""

        def encrypt(lease: Lease[TokenKeys]) -> bytes:
            session, keys = lease
            version, _ = keys.newest(SERVICE_KEYS)
            encrypted = Wrapping(session, keys, SERVICE_KEYS, version).encrypt(secret, _encoded(binding))
            return version.to_bytes(_VERSION_LENGTH) + encrypted

        return self._run(encrypt)

    def unwrap(self, wrapped: bytes, binding: tuple[str, ...]) -> bytes:
        """Return what `wrap` was given. Raises IntegrityError if it is not as this token encrypted it."""
        version, encrypted = int.from_bytes(wrapped[:_VERSION_LENGTH]), wrapped[_VERSION_LENGTH:]

        def decrypt(lease: Lease[TokenKeys]) -> bytes:
            wrapping = Wrapping(lease.session, lease.prepared, SERVICE_KEYS, version)
            if wrapping.check(encrypted, _encoded(binding)) != ENCRYPTED:
                raise KeyUnavailable
            return wrapping.decrypt(encrypted)

        try:
            return self._run(decrypt)
        except KeyUnavailable:
            raise IntegrityError(f"a key that the HSM encrypts was altered: {' '.join(binding)}") from None

    def _run(self, work: Callable[[Lease[TokenKeys]], bytes]) -> bytes:
        try:
            return self._token.run(work)
        except (Pkcs11Error, KMSInternal) as error:
            raise HsmError(f"the HSM failed: {error}") from None


def _encoded(binding: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in binding)
