"""The AWS Encryption SDK for Python: its KMS keyring, its older master key provider, and its cache of data keys."""

import base64

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsMultiKeyringInput
from aws_cryptographic_material_providers.mpl.references import IKeyring

from tests.compat.answering import answer_lines

CLIENT = aws_encryption_sdk.EncryptionSDKClient()
PROVIDERS = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


def keyring(keys: list[str]) -> IKeyring:
    """A keyring whose first key makes data keys and whose others wrap them as well."""
    return PROVIDERS.create_aws_kms_multi_keyring(
        CreateAwsKmsMultiKeyringInput(generator=keys[0], kms_key_ids=keys[1:])
    )


def encrypt(keys: list[str], plaintext: str, context: dict[str, str]) -> str:
    message, _ = CLIENT.encrypt(source=plaintext.encode(), keyring=keyring(keys), encryption_context=context)
    return base64.b64encode(message).decode()


def decrypt(keys: list[str], message: str) -> tuple[str, dict[str, str]]:
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), keyring=keyring(keys))
    return plaintext.decode(), header.encryption_context


def encrypt_with_master_keys(keys: list[str], plaintext: str, context: dict[str, str]) -> str:
    provider = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys)
    message, _ = CLIENT.encrypt(source=plaintext.encode(), key_provider=provider, encryption_context=context)
    return base64.b64encode(message).decode()


def decrypt_with_master_keys(keys: list[str], message: str) -> tuple[str, dict[str, str]]:
    provider = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys)
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), key_provider=provider)
    return plaintext.decode(), header.encryption_context


def encrypt_cached(keys: list[str], plaintexts: list[str], context: dict[str, str]) -> list[str]:
    manager = aws_encryption_sdk.CachingCryptoMaterialsManager(
        master_key_provider=aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys),
        cache=aws_encryption_sdk.LocalCryptoMaterialsCache(capacity=10),
        max_age=600.0,
    )
    return [
        base64.b64encode(
            CLIENT.encrypt(source=plaintext.encode(), materials_manager=manager, encryption_context=context)[0]
        ).decode()
        for plaintext in plaintexts
    ]


if __name__ == "__main__":
    answer_lines(encrypt, decrypt, encrypt_with_master_keys, decrypt_with_master_keys, encrypt_cached)
