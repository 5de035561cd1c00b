"""A proxy that cannot be reached is left alone."""

import pytest

from strongroom.errors import KMSInvalidState
from strongroom.keystores.external.breaker import Breaker
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from tests.xks.keys import opened, used_for
from tests.xks.proxy import XksProxy


class Calls:
    """Calls through a breaker, at a time that can be set. `done` counts those that were let through."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = 0
        self.breaker = Breaker(clock=lambda: self.now)

    def well(self, *, always: bool = False) -> None:
        self.breaker.call(self._count, always=always)

    def fail(self, kind: Kind, *, always: bool = False) -> Kind:
        """A call that fails if it is let through; return how it failed."""

        def work() -> None:
            self._count()
            raise ProxyError(kind)

        with pytest.raises(ProxyError) as failed:
            self.breaker.call(work, always=always)
        return failed.value.kind

    def is_open(self) -> bool:
        done = self.done
        try:
            self.well()
        except ProxyError:
            return True
        assert self.done == done + 1
        return False

    def _count(self) -> None:
        self.done += 1


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def opened_calls(calls: Calls) -> Calls:
    for _ in range(10):
        calls.fail(Kind.TIMED_OUT)
    return calls


@pytest.mark.parametrize("kind", [Kind.UNREACHABLE, Kind.TLS, Kind.TIMED_OUT])
def test_opens_after_ten_failures_in_a_row_and_fails_as_the_last(calls: Calls, kind: Kind) -> None:
    for _ in range(9):
        calls.fail(Kind.UNREACHABLE)
    assert calls.fail(kind) is kind
    assert calls.fail(Kind.UNREACHABLE) is kind
    assert calls.done == 10


def test_does_not_open_if_a_call_succeeds_in_between(calls: Calls) -> None:
    for _ in range(3):
        for _ in range(9):
            calls.fail(Kind.TIMED_OUT)
        calls.well()
    assert calls.done == 30


@pytest.mark.parametrize("kind", set(Kind) - {Kind.UNREACHABLE, Kind.TLS, Kind.TIMED_OUT})
def test_answers_do_not_open_it(calls: Calls, kind: Kind) -> None:
    for _ in range(9):
        calls.fail(Kind.TIMED_OUT)
    calls.fail(kind)
    for _ in range(30):
        assert calls.fail(kind) is kind
    assert calls.done == 40


def test_lets_one_call_through_after_a_second_and_closes_if_it_succeeds(opened_calls: Calls) -> None:
    opened_calls.now = 0.99
    assert opened_calls.is_open()
    opened_calls.now = 1.0
    assert not opened_calls.is_open()
    assert not opened_calls.is_open()


def test_an_answer_of_any_kind_closes_it(opened_calls: Calls) -> None:
    opened_calls.now = 1.0
    assert opened_calls.fail(Kind.AUTHENTICATION_FAILED) is Kind.AUTHENTICATION_FAILED
    assert not opened_calls.is_open()


def test_only_one_call_is_let_through_at_a_time(opened_calls: Calls) -> None:
    opened_calls.now = 1.0
    others: list[bool] = []

    def work() -> None:
        others.append(opened_calls.is_open())

    opened_calls.breaker.call(work)
    assert others == [True]


def test_waits_twice_as_long_each_time_up_to_ten_seconds(opened_calls: Calls) -> None:
    for pause in (1, 2, 4, 8, 10, 10):
        opened_calls.now += pause - 0.01
        assert opened_calls.fail(Kind.TLS) is not Kind.UNREACHABLE
        done = opened_calls.done
        opened_calls.now += 0.01
        assert opened_calls.fail(Kind.TLS) is Kind.TLS
        assert opened_calls.done == done + 1
    opened_calls.well(always=True)
    for _ in range(10):
        opened_calls.fail(Kind.TIMED_OUT)
    opened_calls.now += 1
    assert not opened_calls.is_open()


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_it(opened_calls: Calls) -> None:
    for _ in range(20):
        opened_calls.fail(Kind.TIMED_OUT, always=True)
    opened_calls.now = 1.0
    assert not opened_calls.is_open()


def test_health_checks_go_through_and_close_it(opened_calls: Calls) -> None:
    opened_calls.fail(Kind.TIMED_OUT, always=True)
    assert opened_calls.is_open()
    opened_calls.well(always=True)
    assert not opened_calls.is_open()


def test_a_proxy_that_cannot_be_reached_is_left_alone(xks: XksProxy, store: ExternalKeyStore, proxy: Proxy) -> None:
    key = opened(store)
    xks.hang_up = 100
    for _ in range(10):
        with pytest.raises(KMSInvalidState, match="cannot communicate"):
            key.encrypt(b"plaintext", {})
    asked, xks.hang_up = len(xks.asked), 0
    for _ in range(3):
        with pytest.raises(KMSInvalidState, match="cannot communicate"):
            key.encrypt(b"plaintext", {})
        with pytest.raises(ProxyError):
            proxy.key_metadata(used_for("CreateKey"), "key-1")
    assert len(xks.asked) == asked
    proxy.check_health("r", "KmsHealthCheck")
    key.encrypt(b"plaintext", {})
    assert len(xks.asked) == asked + 2
