"""Who may ask: each rule of Signature Version 4, as the XKS specification has it ("Authentication")."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from strongroom.app.xks_proxy import add_xks_credential, remove_xks_credential
from strongroom.model.exchange import Incoming
from tests.composed import root_credential
from tests.unit.operations.xks.proxy import METADATA, ONE, ROOT, TWO, Headers, Proxy, Signer, encoded, signer_of

PATH = f"{ONE}/kms/xks/v1/keys/key-1/metadata"
BODY = encoded({"requestMetadata": METADATA})
REFUSED = (401, "AuthenticationFailedException")


@dataclass(frozen=True)
class Change:
    """What a signer says otherwise; what they sign is signed rightly."""

    name: str
    made: Callable[[Proxy, Signer], Signer]


ACCEPTED = [
    Change("as it is", lambda _, signer: signer),
    Change("five minutes behind", lambda _, signer: signer._replace(skew=-300)),
    Change("five minutes ahead", lambda _, signer: signer._replace(skew=300)),
    Change("a Region that is not served", lambda _, signer: signer._replace(region="eu-north-1")),
    Change("a Region that does not exist", lambda _, signer: signer._replace(region="mars-1")),
]
REFUSALS = [
    Change("a wrong secret", lambda _, signer: signer._replace(secret=signer.secret[::-1])),
    Change("no secret", lambda _, signer: signer._replace(secret="")),
    Change("an unknown id", lambda _, signer: signer._replace(access_key_id="A" * 20)),
    Change("an empty id", lambda _, signer: signer._replace(access_key_id="")),
    Change("another case of the id", lambda _, signer: signer._replace(access_key_id=signer.access_key_id.lower())),
    Change("the credential of another prefix", lambda proxy, _: proxy.signers[TWO]),
    Change("the credential of the empty prefix", lambda proxy, _: proxy.signers[ROOT]),
    Change("the id of another prefix", lambda proxy, s: s._replace(access_key_id=proxy.signers[TWO].access_key_id)),
    Change("an access key of KMS", lambda proxy, _: kms_access_key(proxy)),
    Change("the service kms", lambda _, signer: signer._replace(service="kms")),
    Change("no service", lambda _, signer: signer._replace(service="")),
    Change("another terminator", lambda _, signer: signer._replace(terminator="aws5_request")),
    Change("no Region", lambda _, signer: signer._replace(region="")),
    Change("another algorithm", lambda _, signer: signer._replace(algorithm="AWS4-HMAC-SHA512")),
    Change("the scope of the day before", lambda _, signer: signer._replace(scope_days=-1)),
    Change("the scope of the day after", lambda _, signer: signer._replace(scope_days=1)),
    Change("more than five minutes behind", lambda _, signer: signer._replace(skew=-301)),
    Change("more than five minutes ahead", lambda _, signer: signer._replace(skew=301)),
    Change("host unsigned", lambda _, signer: signer._replace(names=("x-amz-date",))),
    Change("x-amz-date unsigned", lambda _, signer: signer._replace(names=("host",))),
    Change("a header signed twice", lambda _, signer: signer._replace(names=("host", "host", "x-amz-date"))),
]


def kms_access_key(proxy: Proxy) -> Signer:
    async def key() -> Signer:
        credential = root_credential(proxy.parts.state)
        return Signer(credential.identity.principal.access_key_id, credential.secret)

    return proxy.runner.run(key())


@pytest.mark.parametrize("change", ACCEPTED, ids=lambda change: change.name)
def test_what_is_signed_as_the_specification_says_is_answered(proxy: Proxy, change: Change) -> None:
    assert proxy.post(PATH, BODY, change.made(proxy, proxy.signers[ONE])).outcome == (200, "")


@pytest.mark.parametrize("change", REFUSALS, ids=lambda change: change.name)
def test_what_is_signed_otherwise_is_refused(proxy: Proxy, change: Change) -> None:
    reply = proxy.post(PATH, BODY, change.made(proxy, proxy.signers[ONE]))
    assert reply.outcome == REFUSED
    assert reply.members.keys() == {"errorName", "errorMessage"}


@dataclass(frozen=True)
class Sent:
    """A request that was signed and then changed."""

    path: str = PATH
    query: bytes = b""
    body: bytes = BODY
    headers: Callable[[Headers], Headers] = list


OTHER_HOST = (b"host", b"other.example.test")
ALTERED = {
    "another body": Sent(body=BODY + b" "),
    "no body": Sent(body=b""),
    "another key": Sent(path=PATH.replace("key-1", "key-2")),
    "another operation": Sent(path=PATH.replace("metadata", "encrypt")),
    "another prefix": Sent(path=PATH.replace(ONE, TWO)),
    "a query string": Sent(query=b"a=b"),
    "another host": Sent(headers=lambda headers: [OTHER_HOST, *headers[1:]]),
    "a second host": Sent(headers=lambda headers: [*headers, OTHER_HOST]),
    "no host": Sent(headers=lambda headers: headers[1:]),
    "another date": Sent(headers=lambda headers: [headers[0], (b"x-amz-date", b"20260922T000000Z"), headers[2]]),
    "what is no date": Sent(headers=lambda headers: [headers[0], (b"x-amz-date", b"today"), headers[2]]),
    "no date": Sent(headers=lambda headers: [headers[0], headers[2]]),
    "a second date": Sent(headers=lambda headers: [*headers, headers[1]]),
    "an unsigned header of AWS": Sent(headers=lambda headers: [*headers, (b"x-amz-target", b"x")]),
    "a signature too many": Sent(headers=lambda headers: [*headers, headers[2]]),
    "no signature": Sent(headers=lambda headers: headers[:2]),
    "an empty signature": Sent(headers=lambda headers: [*headers[:2], (b"authorization", b"")]),
    "half a signature": Sent(headers=lambda headers: [*headers[:2], (b"authorization", headers[2][1][:-32])]),
    "no parts": Sent(headers=lambda headers: [*headers[:2], (b"authorization", b"AWS4-HMAC-SHA256")]),
    "a password": Sent(headers=lambda headers: [*headers[:2], (b"authorization", b"Basic YTpi")]),
    "an unsigned payload": Sent(headers=lambda headers: [*headers, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")]),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_changed_after_it_was_signed_is_refused(proxy: Proxy, name: str) -> None:
    sent = ALTERED[name]
    headers = proxy.signers[ONE].headers(PATH.encode(), b"", BODY, proxy.parts.clock.now)
    assert proxy.send("POST", PATH.encode(), headers, BODY).status == 200
    reply = proxy.send("POST", sent.path.encode(), sent.headers(headers), sent.body, query=sent.query)
    assert reply.outcome == REFUSED


def test_a_signature_in_the_query_string_is_none(proxy: Proxy) -> None:
    query = b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
    assert proxy.send("POST", PATH.encode(), [(b"host", b"x")], BODY, query=query).outcome == REFUSED


def test_more_headers_may_come_unsigned(proxy: Proxy) -> None:
    headers = proxy.signers[ONE].headers(PATH.encode(), b"", BODY, proxy.parts.clock.now)
    more = [(b"content-type", b"application/json"), (b"user-agent", b"KMS \xff")]
    assert proxy.send("POST", PATH.encode(), [*more, *headers], BODY).status == 200


def test_a_signature_is_good_for_five_minutes(proxy: Proxy) -> None:
    headers = proxy.signers[ONE].headers(PATH.encode(), b"", BODY, proxy.parts.clock.now)
    proxy.parts.clock.now += 300
    assert proxy.send("POST", PATH.encode(), headers, BODY).status == 200
    proxy.parts.clock.now += 1
    assert proxy.send("POST", PATH.encode(), headers, BODY).outcome == REFUSED


def test_an_access_key_of_the_proxy_is_none_of_kms(proxy: Proxy) -> None:
    """And it is refused as one that nobody has."""
    signer = proxy.signers[ONE]

    async def ask(access_key_id: str) -> str:
        headers = signer._replace(access_key_id=access_key_id, service="kms").headers(
            b"/", b"", b"{}", proxy.parts.clock.now
        )
        incoming = Incoming("POST", b"/", b"", headers, b"{}", "192.0.2.1")
        error = (await proxy.parts.pipeline.answer(incoming, "kms", "ListKeys")).error
        assert error is not None
        return error.code

    codes = {proxy.runner.run(ask(access_key_id)) for access_key_id in (signer.access_key_id, "A" * 20)}
    assert codes == {"UnrecognizedClientException"}


def test_two_credentials_are_good_until_one_is_removed(proxy: Proxy) -> None:
    old = proxy.signers[TWO]
    path = PATH.replace(ONE, TWO)
    new = signer_of(add_xks_credential(proxy.config, TWO, time.time()))
    assert [proxy.post(path, BODY, signer).status for signer in (old, new)] == [200, 200]
    mixed = new._replace(secret=old.secret)
    assert proxy.post(path, BODY, mixed).outcome == REFUSED
    remove_xks_credential(proxy.config, TWO, new.access_key_id, time.time())
    assert [proxy.post(path, BODY, signer).status for signer in (old, new)] == [200, 401]
