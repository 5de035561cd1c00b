"""The form of all answers (XKS specification, "Error codes"): JSON, a request id, and of errors two members."""

import pytest

from tests.unit.operations.xks.proxy import METADATA, ONE, RULED, Proxy, Reply, Signer, encrypting

METADATA_ONLY = {"requestMetadata": METADATA}


def answers(proxy: Proxy) -> list[Reply]:
    """One for each status."""
    return [
        proxy.call(ONE, "keys/key-1/metadata", METADATA_ONLY),
        proxy.call(ONE, "keys/key-1/metadata", {}),
        proxy.call(ONE, "keys/key-1/metadata", METADATA_ONLY, Signer("A" * 20, "wrong")),
        proxy.call(RULED, "keys/forbidden/metadata", METADATA_ONLY),
        proxy.call(ONE, "keys/unknown/metadata", METADATA_ONLY),
        proxy.call(ONE, "keys/key-1/encrypt", encrypting(bytes(8193))),
    ]


def test_each_is_json_with_a_request_id_of_its_own(proxy: Proxy) -> None:
    replies = answers(proxy)
    assert [reply.status for reply in replies] == [200, 400, 401, 403, 404, 501]
    assert {reply.headers[b"Content-Type"] for reply in replies} == {b"application/json"}
    assert len({reply.headers[b"x-amzn-RequestId"] for reply in replies}) == len(replies)


def test_an_error_has_a_name_and_perhaps_a_message(proxy: Proxy) -> None:
    for reply in answers(proxy)[1:]:
        assert reply.members.keys() == {"errorName", "errorMessage"}
        assert all(" " <= letter <= "~" for letter in reply.members["errorMessage"])


@pytest.mark.parametrize("sent", [b"\xff\x80\x9f", b"\xc3\xa9" * 10, b"\t", b"A" * 60_000])
def test_what_was_sent_makes_no_message_too_long_or_of_other_letters(proxy: Proxy, sent: bytes) -> None:
    path = f"{ONE}/kms/xks/v1/health".encode()
    for value in (b"AWS4-" + sent, b"AWS4-HMAC-SHA256 Credential=" + sent, b"AWS4-HMAC-SHA256 " + sent + b"=x"):
        headers = [(b"host", b"x"), (b"x-amz-date", sent), (b"authorization", value)]
        reply = proxy.send("POST", path, headers)
        assert reply.outcome == (401, "AuthenticationFailedException")
        message = reply.members["errorMessage"]
        assert len(message) < 512
        assert all(" " <= letter <= "~" for letter in message)
