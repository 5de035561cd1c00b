"""A process that uses an HSM key store from many threads: `python -m tests.fault.hsm_worker CONFIG SECONDS`.

It prints how many operations it did, and ends with code 0 if every answer was right.
"""

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from strongroom.app.installing import open_installation
from strongroom.config import read_config
from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import load_encryption_key, load_verifying_key
from strongroom.keystores.hsm.store import HsmKeyStore
from tests.hsm import IDS
from tests.keys import generate, kms_key

THREADS = 8
KINDS = [
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ("HMAC_256", "GENERATE_VERIFY_MAC"),
    ("RSA_2048", "SIGN_VERIFY"),
    ("RSA_2048", "ENCRYPT_DECRYPT"),
    ("ECC_NIST_P256", "SIGN_VERIFY"),
    ("ECC_NIST_P384", "KEY_AGREEMENT"),
]


def work(store: HsmKeyStore, number: int, until: float) -> int:
    """Use keys of every kind that all threads share, make others, forget some; return how many operations it were."""
    own = random.Random(number)
    done = 0
    while time.monotonic() < until:
        key, material = own.choice(SHARED)
        if own.random() < 0.02:
            store.forget(material.region, material.material_id)
        if own.random() < 0.01:
            key = kms_key()
            material = generate(store, key)
        public = material.public_key or b""
        match key.key_spec, key.key_usage:
            case "SYMMETRIC_DEFAULT", _:
                plaintext, context = own.randbytes(own.randrange(4097)), {"n": str(done)}
                blob = store.open_symmetric(key, material).encrypt(plaintext, context)
                assert store.open_symmetric(key, material).decrypt(parse(blob), context) == plaintext
            case "HMAC_256", _:
                mac = store.open_mac(key, material).generate("HMAC_SHA_256", b"message")
                store.open_mac(key, material).verify("HMAC_SHA_256", b"message", mac)
            case _, "ENCRYPT_DECRYPT":
                ciphertext = load_encryption_key(key.key_spec, public).encrypt("RSAES_OAEP_SHA_1", b"plaintext")
                assert store.open_decryption(key, material).decrypt("RSAES_OAEP_SHA_1", ciphertext) == b"plaintext"
            case _, "KEY_AGREEMENT":
                assert len(store.open_agreement(key, material).shared_secret(public)) == 48
            case _:
                algorithm = "RSASSA_PSS_SHA_256" if key.key_spec == "RSA_2048" else "ECDSA_SHA_256"
                signature = store.open_signing(key, material).sign(algorithm, "RAW", b"message")
                load_verifying_key(key.key_spec, public).verify(algorithm, "RAW", b"message", signature)
        done += 1
    return done


if __name__ == "__main__":
    config = read_config(Path(sys.argv[1]))
    opened = open_installation(config)
    assert opened.hsm is not None
    assert config.hsm is not None
    key_store = HsmKeyStore(
        opened.hsm.token, opened.hsm.can, allowed=config.hsm.allow, count_use=lambda _: None, material_ids=IDS
    )
    SHARED = []
    for kind in KINDS:
        for _ in range(3):
            made = kms_key(*kind)
            SHARED.append((made, generate(key_store, made)))
    end = time.monotonic() + float(sys.argv[2])
    with ThreadPoolExecutor(THREADS) as threads:
        counts = list(threads.map(lambda number: work(key_store, number, end), range(THREADS)))
    opened.close()
    print(sum(counts))
