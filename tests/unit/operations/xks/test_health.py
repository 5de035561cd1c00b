"""GetHealthStatus: what it says, to whom, and when something is wrong; and how many requests are taken."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from strongroom.app.xks_proxy import create_xks_store, update_xks_store
from strongroom.app.xks_proxy_keys import create_external_key
from strongroom.errors import DependencyTimeout, KeyUnavailable, KMSInternal, RequestError
from strongroom.keystores.external_keys import WELL_SECONDS, ExternalKeys, OpenedExternalKey
from strongroom.model.xks import ExternalKey
from tests.composed import NOW
from tests.unit.operations.xks.proxy import (
    METADATA,
    ONE,
    PLENTY,
    RATE,
    RULED,
    SLOW,
    TWO,
    Proxy,
    encrypting,
    signer_of,
)

HEALTH = {"requestMetadata": {"kmsRequestId": "id", "kmsOperation": "KmsHealthCheck"}}
ENCRYPT = encrypting(b"secret")


def status(proxy: Proxy) -> str:
    reply = proxy.call(ONE, "health", HEALTH)
    assert reply.status == 200
    (manager,) = reply.members["ekmFleetDetails"]
    found: str = manager["healthStatus"]
    return found


def test_health_has_all_members_within_their_bounds(proxy: Proxy) -> None:
    members = proxy.call(ONE, "health", HEALTH).members
    assert members.keys() == {
        "xksProxyFleetSize",
        "xksProxyVendor",
        "xksProxyModel",
        "ekmVendor",
        "ekmFleetDetails",
    }
    assert type(members["xksProxyFleetSize"]) is int
    assert members["xksProxyFleetSize"] > 0
    texts = [members[name] for name in ("xksProxyVendor", "xksProxyModel", "ekmVendor")]
    managers = members["ekmFleetDetails"]
    assert 1 <= len(managers) <= 10
    for manager in managers:
        assert manager.keys() == {"id", "model", "healthStatus"}
        texts += [manager["id"], manager["model"]]
    assert [text for text in texts if not isinstance(text, str) or not text] == []


def test_it_is_active_if_the_key_store_works(proxy: Proxy) -> None:
    assert status(proxy) == "ACTIVE"


@pytest.mark.parametrize("method", ["random_bytes", "generate", "open_symmetric"])
def test_it_is_unavailable_while_the_key_store_fails(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """And that is found out within seconds, both ways."""

    def fail(*_: Any, **__: Any) -> Any:
        raise KMSInternal("The token is on fire.")

    with monkeypatch.context() as broken:
        broken.setattr(proxy.parts.key_store, method, fail)
        proxy.parts.clock.now += WELL_SECONDS
        assert status(proxy) == "UNAVAILABLE"
    proxy.parts.clock.now += WELL_SECONDS
    assert status(proxy) == "ACTIVE"


def test_it_does_not_depend_on_rules(proxy: Proxy) -> None:
    assert proxy.encrypt(RULED, "forbidden", b"x").outcome == (403, "AccessDeniedException")
    assert proxy.call(RULED, "health", HEALTH).status == 200


@dataclass(frozen=True)
class Failure:
    """What the key store says, and what KMS is told of it."""

    error: Exception
    outcome: tuple[int, str]


@pytest.mark.parametrize(
    "failure",
    [
        Failure(DependencyTimeout("The token does not answer."), (503, "DependencyTimeoutException")),
        Failure(KMSInternal("The token is on fire."), (500, "InternalException")),
        Failure(KeyUnavailable("The object is gone."), (400, "InvalidStateException")),
        Failure(ZeroDivisionError("secret"), (500, "InternalException")),
    ],
    ids=lambda failure: type(failure.error).__name__,
)
@pytest.mark.parametrize("name", ["encrypt", "decrypt"])
def test_a_key_store_that_fails_is_told(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str, failure: Failure
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise failure.error

    members = dict(ENCRYPT) | {"ciphertext": b"", "initializationVector": bytes(12), "authenticationTag": bytes(16)}
    monkeypatch.setattr(proxy.parts.key_store, "open_symmetric", fail)
    reply = proxy.call(ONE, f"keys/key-1/{name}", members)
    assert reply.outcome == failure.outcome
    if not isinstance(failure.error, RequestError):
        assert b"secret" not in reply.body


THROTTLED = (429, "ThrottlingException")


def test_more_than_the_rate_is_throttled_until_time_has_passed(proxy: Proxy) -> None:
    """Whatever is asked counts, and what is refused for another reason too; of others nothing counts."""
    asked = [
        ("health", HEALTH, 200),
        ("keys/key-1/encrypt", ENCRYPT, 200),
        ("keys/unknown/metadata", {"requestMetadata": METADATA}, 404),
    ]
    assert len(asked) == RATE
    for name, members, expected in asked:
        assert proxy.call(SLOW, name, members).status == expected
        stranger = proxy.signers[SLOW]._replace(secret="wrong")
        assert proxy.call(SLOW, name, members, stranger).status == 401
        assert proxy.call(TWO, "health", HEALTH).status == 200
    assert [proxy.call(SLOW, name, members).outcome for name, members, _ in asked] == [THROTTLED] * RATE
    assert proxy.call(TWO, "health", HEALTH).status == 200
    proxy.parts.clock.now += 1.01 / RATE
    assert [proxy.call(SLOW, "health", HEALTH).status for _ in range(2)] == [200, 429]
    proxy.parts.clock.now += 100
    assert [proxy.call(SLOW, "health", HEALTH).status for _ in range(RATE + 1)] == [200] * RATE + [429]


def test_a_request_counts_once_though_it_is_decided_again(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the key store has threads of its own, and somebody changes anything meanwhile."""
    issued = create_xks_store(proxy.config, "/counted", rate=RATE, rules=None, now=NOW)
    create_external_key(proxy.config, "/counted", "key-1", label=None, now=NOW)
    opens = ExternalKeys.open

    def after_a_change(keys: ExternalKeys, key: ExternalKey) -> OpenedExternalKey:
        update_xks_store(proxy.config, TWO, rate=PLENTY, rules=None, now=NOW)
        return opens(keys, key)

    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(type(proxy.parts.key_store), "calls", property(lambda _: threads))
        monkeypatch.setattr(ExternalKeys, "open", after_a_change)
        calls = [("/counted", "keys/key-1/encrypt", ENCRYPT, signer_of(issued))] * (RATE + 1)
        answers = [proxy.call(*call).status for call in calls]
    assert answers == [200] * RATE + [429]
