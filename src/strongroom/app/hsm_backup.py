"""Prove that a second token holds the same domain keys: a challenge that only they can answer.

The second token is opened in a process of its own, with an environment of its own: libraries find their tokens by it.
The first token wraps new material of every class; the second one opens it, and must come to the same results.
"""

import hmac
import multiprocessing
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.app.hardware import place_of
from strongroom.app.installing import audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config, Hsm
from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import generate_key_pair, load_encryption_key, load_verifying_key
from strongroom.errors import ConfigurationError, HsmError, KMSInvalidSignature, OperatorError, RequestError
from strongroom.keystores.domain_keys import versions_in_hsm
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS, unwraps
from strongroom.keystores.hsm.domain_keys import has_mark, put_mark
from strongroom.keystores.hsm.failures import Pkcs11Error
from strongroom.keystores.hsm.opening import Hsm as OpenHsm
from strongroom.keystores.hsm.opening import open_hsm
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.material_ids import MaterialIds
from strongroom.model.domain_key import DomainKey
from strongroom.model.import_key import ImportKey
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import (
    AWS_KMS,
    ENCRYPT_DECRYPT,
    GENERATE_VERIFY_MAC,
    KEY_AGREEMENT,
    RAW,
    SIGN_VERIFY,
    SYMMETRIC_DEFAULT,
)
from strongroom.model.key_states import ENABLED
from strongroom.storage.contract import Replace

_KINDS = (
    (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT),
    ("HMAC_256", GENERATE_VERIFY_MAC),
    ("RSA_2048", SIGN_VERIFY),
    ("RSA_2048", ENCRYPT_DECRYPT),
    ("ECC_NIST_P256", SIGN_VERIFY),
    ("ECC_NIST_P256", KEY_AGREEMENT),
    ("ECC_NIST_EDWARDS25519", SIGN_VERIFY),
)
"""A kind of key for each domain key that wraps or encrypts key material of one."""
_OAEP = "RSAES_OAEP_SHA_1"
_SERVICE_KEYS = ("backup-challenge",)


class Challenge(NamedTuple):
    """What the second token is asked: material that it has never seen, and what to do with it.

    `xaes`: whether material of a symmetric key is to be of XAES-256-GCM, or of AES-256-GCM. Imported material is made
    in the second token, with the import key and from what was encrypted for it.
    """

    key: KmsKey
    material: KeyMaterial | tuple[ImportKey, bytes]
    question: bytes
    xaes: bool

    def __str__(self) -> str:
        kind = f"{self.key.key_spec} for {self.key.key_usage}"
        if self.key.key_spec == SYMMETRIC_DEFAULT:
            return f"{kind} with {'XAES' if self.xaes else 'AES'}-256-GCM"
        return kind if isinstance(self.material, KeyMaterial) else f"import of {kind}"


class Asked(NamedTuple):
    """The challenges of one version of the domain keys, and a secret as the service's own keys are encrypted."""

    version: int
    challenges: list[Challenge]
    encrypted: bytes


Answered = list[tuple[list[bytes], bytes]]
"""For each version: the answers, and the decrypted secret."""


def verify_backup(config: Config, backup: Hsm, environment: Mapping[str, str], now: float) -> list[str]:
    """Prove that the token `backup` holds all domain keys that the installation's token holds, and note it.

    Return what was proven. `environment` is what the library of the second token finds in its own. Raises HsmError if
    the second token lacks one of the keys or holds another, ConfigurationError, StorageError.
    """
    if config.hsm is None:
        raise ConfigurationError("the configuration names no HSM")
    with opened_to_change(config) as opened:
        installation_id = opened.installation.installation_id
        versions = versions_in_hsm(record for record, _ in opened.storage.find_all(DomainKey))
        assert opened.hsm is not None, "the configuration names it"
        asked, expected = _ask(config, installation_id, sorted(versions))
        with _marked(opened.hsm) as mark:
            answered = _in_another_process(Examination(config, backup, environment, installation_id, mark, asked))
        proven = [line for one in zip(asked, expected, answered, strict=True) for line in _check(*one)]
        found = opened.storage.find(Installation, (installation_id,))
        assert found is not None, "it was opened"
        event = service_event(
            name="VerifyHsmBackup", event_id=str(uuid.uuid4()), now=now, details={"token": backup.token}
        )
        writes = [Replace(replace(found[0], backup_verified=now), found[1])]
        commit_recorded(audit_log(opened), event, writes, opened.storage.commit)
    return proven


@contextmanager
def _marked(hsm: OpenHsm) -> Iterator[bytes]:
    """Have a mark in the token that no other token has."""
    mark = b"strongroom backup-check " + secrets.token_hex(8).encode()
    try:
        handle = hsm.token.run(lambda lease: put_mark(lease.session, mark))
        try:
            yield mark
        finally:
            hsm.token.run(lambda lease: lease.session.destroy(handle))
    except Pkcs11Error as error:
        raise HsmError(f"the HSM failed: {error}") from None


def _ask(config: Config, installation_id: str, versions: list[int]) -> tuple[list[Asked], Answered]:
    """Make the challenges in the first token, and its own answers to them."""
    assert config.hsm is not None
    asked: list[Asked] = []
    expected: Answered = []
    for version in versions:
        hsm = open_hsm(place_of(config, config.hsm), installation_id, {version}, config.hsm.allow)
        try:
            challenges = _challenges(hsm)
            secret = secrets.token_bytes(32)
            asked.append(Asked(version, challenges, HsmRoot(hsm.token).wrap(secret, _SERVICE_KEYS)))
            expected.append(([_answer(hsm, challenge) for challenge in challenges], secret))
        finally:
            hsm.token.close()
    return asked, expected


def _challenges(hsm: OpenHsm) -> list[Challenge]:
    """One for each domain key that this token can use."""
    can = hsm.can
    found = [_challenge(hsm, *kind, xaes=can.xaes) for kind in _KINDS if can.way(*kind) is not None]
    if can.xaes:  # the domain key for tokens that cannot derive is there as well
        found.append(_challenge(hsm, SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT, xaes=False))
    if unwraps(_OAEP) in can.done:  # otherwise import keys are of another class, which is asked already
        found.append(_import_challenge(hsm))
    return found


def _store(hsm: OpenHsm, *, xaes: bool) -> HsmKeyStore:
    can = hsm.can._replace(xaes=xaes)
    ids = MaterialIds(bytes(32))  # what is imported is stored nowhere
    return HsmKeyStore(hsm.token, can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=ids)


def _import_challenge(hsm: OpenHsm) -> Challenge:
    """A key pair under which material is wrapped, and material to open with it."""
    store, key = _store(hsm, xaes=False), _key("HMAC_256", GENERATE_VERIFY_MAC)
    import_key = store.new_import_key(key, "RSA_2048", _OAEP)
    secret = secrets.token_bytes(32)
    encrypted = load_encryption_key(import_key.key_spec, import_key.public_key).encrypt(_OAEP, secret)
    return Challenge(key, (import_key, encrypted), secrets.token_bytes(32), xaes=False)


def _key(key_spec: str, key_usage: str) -> KmsKey:
    """A key of nobody's."""
    return KmsKey(
        account="000000000000",
        region="",
        key_id=str(uuid.uuid4()),
        key_spec=key_spec,
        key_usage=key_usage,
        origin=AWS_KMS,
        state=ENABLED,
        description="",
        policy="",
        tags=(),
        created=0.0,
        current_material_id=secrets.token_hex(32),
    )


def _challenge(hsm: OpenHsm, key_spec: str, key_usage: str, *, xaes: bool) -> Challenge:
    """New material of a kind, and something to do with it."""
    store, key = _store(hsm, xaes=xaes), _key(key_spec, key_usage)
    material = store.generate(key, material_id=key.current_material_id, created=0.0)
    question = secrets.token_bytes(32)
    if key_spec == SYMMETRIC_DEFAULT:
        question = store.open_symmetric(key, material).encrypt(question, {})
    elif key_usage == ENCRYPT_DECRYPT:
        question = load_encryption_key(key_spec, material.public_key or b"").encrypt(_OAEP, question)
    elif key_usage == KEY_AGREEMENT:
        question = generate_key_pair(key_spec).public
    return Challenge(key, material, question, xaes)


def _answer(hsm: OpenHsm, challenge: Challenge) -> bytes:
    store, key, question = _store(hsm, xaes=challenge.xaes), challenge.key, challenge.question
    material = challenge.material
    if not isinstance(material, KeyMaterial):
        import_key, encrypted = material
        material = store.import_material(key, import_key, encrypted, created=0.0)
    match key.key_spec, key.key_usage:
        case "SYMMETRIC_DEFAULT", _:
            return store.open_symmetric(key, material).decrypt(parse(question), {})
        case _, "GENERATE_VERIFY_MAC":
            return store.open_mac(key, material).generate("HMAC_SHA_256", question)
        case _, "ENCRYPT_DECRYPT":
            return store.open_decryption(key, material).decrypt(_OAEP, question)
        case _, "KEY_AGREEMENT":
            return store.open_agreement(key, material).shared_secret(question)
        case _:
            return store.open_signing(key, material).sign(_SIGNING[key.key_spec], RAW, question)


_SIGNING = {
    "RSA_2048": "RSASSA_PKCS1_V1_5_SHA_256",
    "ECC_NIST_P256": "ECDSA_SHA_256",
    "ECC_NIST_EDWARDS25519": "ED25519_SHA_512",
}


def _check(asked: Asked, expected: tuple[list[bytes], bytes], answered: tuple[list[bytes], bytes]) -> list[str]:
    """Return what is proven by the answers to one version's challenges. Raises HsmError if one is wrong."""
    for challenge, ours, theirs in zip(asked.challenges, expected[0], answered[0], strict=True):
        key, question = challenge.key, challenge.question
        if key.key_usage == SIGN_VERIFY:
            assert isinstance(challenge.material, KeyMaterial), "only HMAC keys are imported"
            public = load_verifying_key(key.key_spec, challenge.material.public_key or b"")
            try:
                public.verify(_SIGNING[key.key_spec], RAW, question, theirs)
            except KMSInvalidSignature:
                raise HsmError(f"the second token answers otherwise: {challenge}") from None
        elif not hmac.compare_digest(ours, theirs):
            raise HsmError(f"the second token answers otherwise: {challenge}")
    if not hmac.compare_digest(expected[1], answered[1]):
        raise HsmError("the second token answers otherwise with the service's own keys")
    kinds = [*map(str, asked.challenges), "the service's own keys"]
    return [f"{kind} (version {asked.version})" for kind in kinds]


class Examination(NamedTuple):
    """What the process that opens the second token is given."""

    config: Config
    backup: Hsm
    environment: Mapping[str, str]
    installation_id: str
    mark: bytes
    asked: list[Asked]


def _in_another_process(examination: Examination) -> Answered:
    spawning = multiprocessing.get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_answer_all, args=(examination, sender))
    process.start()
    sender.close()
    try:
        answered: Answered | str = receiver.recv()
    except EOFError:
        raise HsmError("the process that opens the second token ended without an answer") from None
    finally:
        process.join()
    if isinstance(answered, str):
        raise HsmError(f"the second token: {answered}")
    return answered


def _answer_all(examination: Examination, sender: Connection) -> None:
    """Answer the challenges with the second token; in a process of its own."""
    os.environ.update(examination.environment)
    try:
        sender.send([_answer_version(examination, asked) for asked in examination.asked])
    except (OperatorError, RequestError) as error:
        sender.send(str(error.args[0] or type(error).__name__))
    except Pkcs11Error as error:
        sender.send(str(error))


def _answer_version(examination: Examination, asked: Asked) -> tuple[list[bytes], bytes]:
    place = place_of(examination.config, examination.backup)
    hsm = open_hsm(place, examination.installation_id, {asked.version}, WEAKER_WAYS)
    try:
        if hsm.token.run(lambda lease: has_mark(lease.session, examination.mark)):
            raise HsmError("it is the installation's own token, and no second one")
        answers = [_answer(hsm, challenge) for challenge in asked.challenges]
        return answers, HsmRoot(hsm.token).unwrap(asked.encrypted, _SERVICE_KEYS)
    finally:
        hsm.token.close()
