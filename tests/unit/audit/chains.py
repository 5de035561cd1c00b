"""Chains made for tests: with all keys, or as somebody makes them who has only the installation's public keys."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from strongroom.audit import chain
from strongroom.audit.chain import ChainState
from strongroom.audit.headers import FORMAT, SegmentHeader, encode_header, seal_key, sign_header
from strongroom.audit.segments import log_path
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.model.installation import Installation

Records = Sequence[tuple[bytes, int]]


def write_chain(log: AuditLog, work: Callable[[str], Records], *, now: float) -> Path:
    """Write the records that `work` returns for a chain's id, each with its change or 0, and close the chain."""

    async def run() -> Path:
        with ThreadPoolExecutor(1) as executor:
            writer = AuditWriter.open(log, now=lambda: now, executor=executor, on_fatal=_fail)
            try:
                for record, change in work(writer.chain_id):
                    await writer.write(record, change)
            finally:
                await writer.close()
        return log.directory / writer.chain_id

    return asyncio.run(run())


def _fail(reason: str) -> None:
    raise AssertionError(reason)


def make_segment(
    state: ChainState,
    records: Records,
    *,
    installation: Installation,
    chain_id: str,
    segment: int = 1,
    digest_key: RSAPrivateKey | None = None,
) -> tuple[ChainState, list[bytes]]:
    """The lines of a segment behind `state`; without the digest key, its header bears no signature."""
    sealed = seal_key(
        state.key,
        chain_public_key=installation.chain_public_key,
        installation_id=installation.installation_id,
        chain_id=chain_id,
        segment=segment,
    )
    header = SegmentHeader(
        FORMAT, installation.installation_id, chain_id, segment, state.mac, "2026-09-21T14:13:20Z", sealed
    )
    if digest_key is not None:
        header = sign_header(header, digest_key)
    lines: list[bytes] = []
    for record, change in ((encode_header(header), 0), *records):
        state, line = chain.extend(state, record, change)
        lines.append(line)
    return state, lines


def forge_chain(log: AuditLog, chain_id: str, records: Records) -> Path:
    """Write a chain that is whole, but made with the chain public key alone. Returns its first segment."""
    start = chain.beginning(chain_id, bytes(range(32)))
    _, lines = make_segment(start, records, installation=log.installation, chain_id=chain_id)
    directory = log.directory / chain_id
    directory.mkdir(parents=True, exist_ok=True)
    path = log_path(directory, 1)
    path.write_bytes(b"".join(lines))
    return path
