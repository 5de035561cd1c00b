"""The pipeline over real parts: one record per request whatever happens, and no answer without its record."""

import asyncio
import base64
import errno
import json
import os
import threading
from typing import Any

import pytest
from msgspec import structs

from strongroom.crypto.key_pairs import KeyPair, generate_key_pair
from strongroom.errors import (
    AccessDenied,
    ConflictError,
    Disabled,
    IntegrityError,
    LimitExceeded,
    StorageError,
    UnknownOperation,
    UnrecognizedClient,
    code_of,
)
from strongroom.keystores import generation
from strongroom.model.exchange import Answer, Incoming
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey
from strongroom.operations import registry
from strongroom.operations.kms import keys
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.storage.contract import Replace
from tests.composed import NOW, Composed, Run, root_credential


async def make_key(parts: Composed) -> str:
    answer: Any = await parts.call("CreateKey", {})
    key_id: str = answer.response.key_metadata.key_id
    return key_id


def outcome(answer: Answer) -> str:
    return "success" if answer.error is None else answer.error.code


def test_every_request_of_a_caller_has_one_record(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key_id = await make_key(parts)
        answers = [
            await parts.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD", "EncryptionContext": {"a": "b"}}),
            await parts.call("Encrypt", {"KeyId": key_id}),
            await parts.call("Encrypt", {"KeyId": 1}),
            await parts.call("Encrypt", {"KeyId": "nothing", "Plaintext": "QUJD"}),
            await parts.call("Sign", {}),
        ]
        records = parts.records()[1:]

        assert [record["requestID"] for record in records] == [answer.request_id for answer in answers]
        assert [record.get("errorCode", "success") for record in records] == [outcome(answer) for answer in answers]
        assert records[0]["requestParameters"] == {
            "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "keyId": key_id,
            "encryptionContext": {"a": "b"},
        }
        assert records[0]["userIdentity"]["type"] == "Root"
        assert records[0]["sourceIPAddress"] == "192.0.2.1"
        assert records[0]["resources"][0]["ARN"].endswith(key_id)
        assert len(records[0]["additionalEventData"]["keyMaterialId"]) == 64
        assert records[0]["readOnly"] is True

    run(test)


def test_a_use_of_a_key_is_noted_as_it_is_recorded(run: Run) -> None:
    async def test(parts: Composed) -> None:
        first, second = await make_key(parts), await make_key(parts)
        encrypted: Any = await parts.call("Encrypt", {"KeyId": first, "Plaintext": "QUJD"})
        blob = base64.b64encode(encrypted.response.ciphertext_blob).decode()
        assert noted(parts) == {first: ("Encrypt", encrypted.request_id)}

        decrypted = await parts.call("Decrypt", {"CiphertextBlob": blob})
        assert noted(parts) == {first: ("Decrypt", decrypted.request_id)}
        both = await parts.call("ReEncrypt", {"CiphertextBlob": blob, "DestinationKeyId": second})
        assert noted(parts) == dict.fromkeys((first, second), ("ReEncrypt", both.request_id))
        assert {usage.event_id for usage in key_usages(parts)} == {parts.records()[-1]["eventID"]}
        assert {usage.used for usage in key_usages(parts)} == {NOW}

    run(test)


def test_what_uses_no_key_or_fails_is_no_use(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        key_id = await make_key(parts)
        answers = [
            await parts.call("DescribeKey", {"KeyId": key_id}),
            await parts.call("GenerateRandom", {"NumberOfBytes": 1}),
            await parts.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD", "DryRun": True}),
            await parts.call("Decrypt", {"KeyId": key_id, "CiphertextBlob": "QUJD"}),
            await parts.call("DisableKey", {"KeyId": key_id}),
            await parts.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}),
        ]
        assert [outcome(answer) for answer in answers] == [
            "success",
            "success",
            "DryRunOperationException",
            "InvalidCiphertextException",
            "success",
            "DisabledException",
        ]
        assert key_usages(parts) == []

    run(test)


def key_usages(parts: Composed) -> list[KeyUsage]:
    return [usage for usage in parts.uses.noted() if isinstance(usage, KeyUsage)]


def noted(parts: Composed) -> dict[str, tuple[str, str]]:
    return {usage.key_id: (usage.operation, usage.request_id) for usage in key_usages(parts)}


def test_a_crash_is_recorded_and_tells_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(*_arguments: object) -> None:
        raise RuntimeError("the plaintext is hunter2")

    crashing = structs.replace(registry.OPERATIONS["kms", "GenerateRandom"], run=crash)
    monkeypatch.setitem(registry.OPERATIONS, ("kms", "GenerateRandom"), crashing)

    async def test(parts: Composed) -> None:
        answer = await parts.call("GenerateRandom", {"NumberOfBytes": 1})

        assert outcome(answer) == "KMSInternalException"
        assert [record["errorCode"] for record in parts.records()] == ["KMSInternalException"]
        assert "hunter2" not in str(parts.records())
        assert "hunter2" not in str(answer.error)

    run(test)
    said = capfd.readouterr().err
    assert "RuntimeError at test_pipeline.py:" in said
    assert "hunter2" not in said


def test_without_its_record_a_request_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        key_id = await make_key(parts)
        write = os.write

        def full(descriptor: int, content: memoryview) -> int:
            if b"eventVersion" in bytes(content):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, content)

        monkeypatch.setattr(os, "write", full)
        refused = await parts.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"})
        unrecorded_change = await parts.call("CreateKey", {})
        monkeypatch.undo()
        assert outcome(refused) == outcome(unrecorded_change) == "KMSInternalException"
        assert refused.response is None

        assert outcome(await parts.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"})) == "success"
        recorded = [record["requestID"] for record in parts.records()]
        assert refused.request_id not in recorded
        # The change was made: its record was in the outbox, and is chained once.
        assert recorded.count(unrecorded_change.request_id) == 1

    run(test)


def test_a_change_is_decided_again_when_another_came_between(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        commit = parts.opened.storage.commit
        conflicts = [ConflictError(), ConflictError()]

        def contended(*arguments: Any, **options: Any) -> Any:
            if conflicts:
                raise conflicts.pop()
            return commit(*arguments, **options)

        monkeypatch.setattr(parts.opened.storage, "commit", contended)
        assert outcome(await parts.call("CreateKey", {})) == "success"
        assert len(parts.records()) == 1

        conflicts.extend(ConflictError() for _ in range(100))
        assert outcome(await parts.call("CreateKey", {})) == "KMSInternalException"
        assert [record.get("errorCode") for record in parts.records()] == [None, "KMSInternalException"]

    run(test)


def test_a_dry_run_changes_nothing_and_is_recorded(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key_id = await make_key(parts)
        answer = await parts.call("GenerateDataKey", {"KeyId": key_id, "NumberOfBytes": 32, "DryRun": True})

        assert outcome(answer) == "DryRunOperationException"
        assert parts.records()[-1]["errorCode"] == "DryRunOperationException"
        assert parts.records()[-1]["requestParameters"]["dryRun"] is True

    run(test)


@pytest.mark.parametrize(("error", "ends"), [(IntegrityError("row x"), True), (StorageError("locked"), False)])
def test_state_that_cannot_be_trusted_ends_the_process(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, *, ends: bool
) -> None:
    async def test(parts: Composed) -> None:
        await make_key(parts)
        credential = root_credential(parts.state)
        body = b'{"NumberOfBytes":1}'
        headers = [(b"host", b"localhost")]
        key = Credential(credential.identity.principal.access_key_id, credential.secret)
        signed = SignedRequest("POST", b"/", b"", headers)
        headers += sign(signed, key, region="us-east-1", service="kms", now=NOW, body=body)

        def fail() -> int:
            raise error

        await asyncio.sleep(0)
        monkeypatch.setattr(parts.opened.storage, "version", fail)
        incoming = Incoming("POST", b"/", b"", headers, body, "192.0.2.1")
        answer = await parts.pipeline.answer(incoming, "kms", "GenerateRandom")
        monkeypatch.undo()

        assert outcome(answer) == "KMSInternalException"
        assert parts.fatal == (["row x"] if ends else [])

    run(test)


def test_query_services_are_asked_in_forms_and_recorded_with_the_codes_they_tell(run: Run) -> None:
    async def test(parts: Composed) -> None:
        identity: Any = await parts.ask("sts", "Action=GetCallerIdentity&Version=2011-06-15")
        same: Any = await parts.ask("sts", "Action=GetCallerIdentity&Version=2011-06-15", method="GET")
        session: Any = await parts.ask("sts", "Action=GetSessionToken&DurationSeconds=900", method="GET")
        assert identity.response == same.response
        assert session.response.credentials.expiration == NOW + 900
        answers = [
            await parts.ask("sts", "Action=GetSessionToken&DurationSeconds=1"),
            await parts.ask("sts", "Action=GetSessionToken&DurationSeconds=long"),
            await parts.ask("iam", "Action=CreateUser&UserName=a%20b"),
        ]
        codes = [code_of(answer.error, "iam") for answer in answers if answer.error]
        assert codes == ["ValidationError", "MalformedInput", "ValidationError"]
        unknown = await parts.ask("iam", "Action=CreateUsers")
        assert unknown.error is not None
        assert unknown.error.message == "Could not find operation CreateUsers for version 2010-05-08"

        records = parts.records()
        assert [record["eventSource"] for record in records] == ["sts.amazonaws.com"] * 5 + ["iam.amazonaws.com"]
        assert [record.get("errorCode") for record in records] == [None, None, None, *codes]

    run(test)


def test_strangers_are_recorded_with_the_service_and_the_code_they_are_told(run: Run) -> None:
    async def test(parts: Composed) -> None:
        incoming = Incoming("POST", b"/", b"", [], b"", "192.0.2.1")
        await parts.pipeline.answer(incoming, "iam", "CreateUser")
        await parts.pipeline.answer(incoming, "kms", "CreateKey")
        parts.pipeline.refuse(incoming, UnknownOperation("Could not find operation A for version B"), None)
        parts.pipeline._strangers.tick(NOW)

        lines = [
            line
            for path in parts.opened.config.strangers_directory.iterdir()
            for line in path.read_bytes().splitlines()
        ]
        records = [json.loads(line) for line in lines]
        assert [(record["eventSource"], record["errorCode"]) for record in records] == [
            ("iam.amazonaws.com", "MissingAuthenticationToken"),
            ("kms.amazonaws.com", "MissingAuthenticationTokenException"),
            ("kms.amazonaws.com", "InvalidAction"),
        ]

    run(test)


def test_strangers_leave_nothing_in_the_chained_log(run: Run) -> None:
    async def test(parts: Composed) -> None:
        before = len(parts.records())
        unsigned = Incoming("POST", b"/", b"", [(b"host", b"localhost")], b"{}", "192.0.2.1")
        for name in ("Encrypt", "NoSuchOperation", None):
            answer = await parts.pipeline.answer(unsigned, "kms", name)
            assert answer.error is not None
        assert len(parts.records()) == before

    run(test)


def test_the_quota_of_keys_counts_those_of_the_account_and_region(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 2)

    async def test(parts: Composed) -> None:
        answers = [await parts.call("CreateKey", {}) for _ in range(3)]
        assert [answer.error for answer in answers[:2]] == [None, None]
        error = answers[2].error
        assert isinstance(error, LimitExceeded)
        assert error.message == "The account has 2 KMS keys in us-east-1, the most that it can have."
        assert len(parts.state.fresh().keys) == 2

    run(test)


def test_what_changed_since_a_caller_was_authorized_is_decided_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that shuts the caller out is not read by them, however closely the two requests follow."""

    async def test(parts: Composed) -> None:
        key_id = await make_key(parts)
        (entry,) = parts.state.fresh().keys.values()
        shut = structs.replace(entry.key, policy=entry.key.policy.replace("kms:*", "kms:Decrypt"))
        find = parts.opened.storage.find

        def found_later(*asked: Any) -> Any:
            monkeypatch.setattr(parts.opened.storage, "find", find)
            parts.opened.storage.commit([Replace(shut, entry.number)], None)
            return find(*asked)

        monkeypatch.setattr(parts.opened.storage, "find", found_later)
        answer = await parts.call("GetKeyPolicy", {"KeyId": key_id})
        assert isinstance(answer.error, AccessDenied)

    run(test)


def test_a_key_that_takes_long_to_make_holds_nobody_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(key_spec: str) -> KeyPair:
        assert go_on.wait(10)
        return generate_key_pair(key_spec.replace("RSA_4096", "RSA_2048"))

    monkeypatch.setattr(generation, "generate_key_pair", slow)

    async def test(parts: Composed) -> None:
        key = await make_key(parts)
        pair = {"KeyId": key, "KeyPairSpec": "RSA_4096"}
        making = asyncio.create_task(parts.call("GenerateDataKeyPair", pair))
        await asyncio.sleep(0)

        encrypted = await parts.call("Encrypt", {"KeyId": key, "Plaintext": "QUJD"})
        assert encrypted.error is None
        assert not making.done()
        go_on.set()
        assert (await making).error is None

    run(test)


def held_up(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have key pairs wait to be made until the event is set."""
    go_on = threading.Event()

    def slow(key_spec: str) -> KeyPair:
        assert go_on.wait(10)
        return generate_key_pair(key_spec)

    monkeypatch.setattr(generation, "generate_key_pair", slow)
    return go_on


def test_what_waited_is_not_given_out_if_its_key_was_disabled_meanwhile(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = held_up(monkeypatch)

    async def test(parts: Composed) -> None:
        key = await make_key(parts)
        making = asyncio.create_task(parts.call("GenerateDataKeyPair", {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}))
        await asyncio.sleep(0)
        assert (await parts.call("DisableKey", {"KeyId": key})).error is None
        go_on.set()
        assert isinstance((await making).error, Disabled)
        assert [record.get("errorCode") for record in parts.records()[-2:]] == [None, "DisabledException"]

    run(test)


def test_what_waited_is_not_given_out_to_a_caller_who_is_gone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = held_up(monkeypatch)

    async def test(parts: Composed) -> None:
        making = asyncio.create_task(parts.call("CreateKey", {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}))
        await asyncio.sleep(0)
        ((access_key, number),) = parts.opened.storage.find_all(AccessKey)
        parts.opened.storage.commit([Replace(structs.replace(access_key, deactivated=NOW), number)], None)
        go_on.set()
        assert isinstance((await making).error, UnrecognizedClient)
        assert parts.state.fresh().keys == {}

    run(test)


def test_what_waited_is_done_again_if_its_names_mean_another_key_now(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = held_up(monkeypatch)

    async def test(parts: Composed) -> None:
        first, second = await make_key(parts), await make_key(parts)
        await parts.call("CreateAlias", {"AliasName": "alias/a", "TargetKeyId": first})
        pair = {"KeyId": "alias/a", "KeyPairSpec": "ECC_NIST_P256"}
        making = asyncio.create_task(parts.call("GenerateDataKeyPair", pair))
        await asyncio.sleep(0)
        await parts.call("UpdateAlias", {"AliasName": "alias/a", "TargetKeyId": second})
        go_on.set()
        response: Any = (await making).response
        assert response.key_id.endswith(second)

    run(test)
