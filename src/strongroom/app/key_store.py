"""The key store of an installation, with the threads that it needs."""

import asyncio
from collections.abc import Callable

from strongroom.app.counted_uses import CountedUses
from strongroom.app.installing import Opened
from strongroom.app.measuring import HSM, HSM_GENERATION
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.external_keys import ExternalKeys
from strongroom.keystores.hsm.store import RSA_AT_ONCE, HsmKeyStore
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import KEY_STORE_CALLS

HSM_CALL_SECONDS = 5.0
"""How long a request waits for the HSM. A call that takes longer is taken to hang."""
HSM_GENERATION_SECONDS = 60.0
"""How long CreateKey and data key pairs wait: RSA-4096 takes an HSM many seconds."""
_CALL_THREADS = 4
_GENERATION_THREADS = RSA_AT_ONCE + 1


def serving_key_store(opened: Opened, on_fatal: Callable[[str], None], meters: Meters) -> KeyStore:
    """The key store for a server process. `on_fatal` is told if no call of the HSM comes back any more."""
    if opened.hsm is None:
        return key_store_of(opened)
    token = opened.hsm.token

    loop = asyncio.get_running_loop()

    def hanging(reason: str) -> None:
        on_fatal(f"the HSM hangs: {reason}")

    token.on_stuck = lambda reason: loop.call_soon_threadsafe(hanging, reason)  # type: ignore[assignment]

    calls = CallThreads(
        _CALL_THREADS,
        HSM_CALL_SECONDS,
        name="hsm",
        on_overdue=token.quarantine,
        on_all_hanging=hanging,
        on_ended=meters.histogram(KEY_STORE_CALLS, HSM).observe,
    )
    generation = CallThreads(
        _GENERATION_THREADS,
        HSM_GENERATION_SECONDS,
        name="hsm-slow",
        nice=True,
        on_overdue=token.examine,  # it may be slow, and nothing else
        on_all_hanging=hanging,
        on_ended=meters.histogram(KEY_STORE_CALLS, HSM_GENERATION).observe,
    )
    return key_store_of(opened, calls, generation)


def key_store_of(
    opened: Opened, calls: CallThreads | None = None, generation: CallThreads | None = None
) -> SoftwareKeyStore | HsmKeyStore:
    """The key store for a command, which calls it on its own thread; or for a server, with threads for an HSM."""
    if opened.hsm is None:
        return SoftwareKeyStore(opened.domain_keys)
    assert opened.config.hsm is not None, "it was opened by it"
    return HsmKeyStore(
        opened.hsm.token,
        opened.hsm.can,
        allowed=opened.config.hsm.allow,
        count_use=CountedUses(opened.storage).count,
        material_ids=opened.domain_keys.material_ids,
        recovery_public_key=opened.installation.recovery_public_key,
        calls=calls,
        generation=generation,
    )


def served_external_keys(opened: Opened, key_store: KeyStore) -> ExternalKeys:
    """The external keys of an installation, which its key store makes, opens and counts."""
    if opened.hsm is None:
        return ExternalKeys(key_store, None)
    assert isinstance(key_store, HsmKeyStore), "it is made of what was opened"
    return ExternalKeys(key_store, key_store.objects)
