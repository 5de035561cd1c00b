"""What the log knows of the database's past: by it an old copy that was put back is told, and accepted knowingly."""

from collections.abc import Container
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from strongroom.audit.chain import Line
from strongroom.audit.digests import digested_segments, is_signed, load_public_key, read_digest
from strongroom.audit.reading import ChainReader
from strongroom.audit.segments import chain_directories, segments
from strongroom.model.installation import Installation
from strongroom.storage.contract import Position

ROLLBACK_EVENT = "AcceptRollback"
RESTORE_EVENT = "RestoreBackup"


class LostChain(Struct, frozen=True, rename="camel"):
    """A chain in the log that the database does not know: its last line, `last_mac` in hex."""

    chain_id: str
    last_sequence: int
    last_mac: str


class RollbackDetails(Struct, frozen=True, rename="camel"):
    """The serviceEventDetails of the record with which an operator goes on from another database.

    `newest_change` is the newest of that database. Lost are the changes from `first_lost_change` to
    `newest_lost_change` as the log has them: the database has none of these numbers, or other changes.
    """

    newest_change: int
    first_lost_change: int
    newest_lost_change: int
    lost_chains: list[LostChain]


class RestoreDetails(RollbackDetails, frozen=True, kw_only=True, rename="camel"):
    """The serviceEventDetails of the record of a restore from a backup: the database goes on from `newest_change`.

    `backup` says when the backup was made. Of the lost changes those in `done_again` were done again, those in
    `left` were not, and were told to the operator. `disabled` are the ARNs of keys that are disabled therefore.
    `damage` is what was wrong with the log that told them. Without an audit log nobody knows what was lost.
    """

    backup: str
    without_audit_log: bool
    done_again: list[int]
    left: list[int]
    disabled: list[str]
    damage: list[str]


class KnownChanges(NamedTuple):
    """The changes that the log knows: the newest number (0 if none), and with what to compare the database.

    `signed` is the newest position that a digest names. `unsigned` are the changes after it that stand in unsigned
    segments, with the SHA-256 of their records.
    """

    newest: int
    signed: Position | None
    unsigned: frozenset[tuple[int, bytes]]


def known_changes(directory: Path, installation: Installation, *, chain_private_key: bytes) -> KnownChanges:
    """Read what digests and the good lines of unsigned segments know. Reads no more than each chain's unsigned end.

    Raises OSError.
    """
    public_key = load_public_key(installation.digest_public_key)
    signed: Position | None = None
    ends: list[tuple[Path, int]] = []
    for chain_directory in chain_directories(directory):
        last_signed = 0
        for number in reversed(digested_segments(chain_directory)):
            digest = read_digest(chain_directory, number)
            if digest is not None and is_signed(digest, public_key):
                named = digest.digest.database_position
                if signed is None or named.number > signed.number:
                    signed = Position(named.number, bytes.fromhex(named.chain))
                last_signed = number
                break
        ends.append((chain_directory, last_signed))
    newest_signed = 0 if signed is None else signed.number
    unsigned: set[tuple[int, bytes]] = set()

    def note(line: Line) -> None:
        if line.change > newest_signed:
            unsigned.add((line.change, sha256(line.record).digest()))

    for chain_directory, last_signed in ends:
        reader = ChainReader(
            chain_directory, installation=installation, chain_private_key=chain_private_key, on_record=note
        )
        for number in segments(chain_directory):
            if number > last_signed:
                reader.read(number)
    newest = max((number for number, _ in unsigned), default=newest_signed)
    return KnownChanges(newest, signed, frozenset(unsigned))


def lost_chains(
    directory: Path, installation: Installation, known: Container[str], *, chain_private_key: bytes
) -> list[LostChain]:
    """Return the genuine chains in the log that are not `known`, by name. Raises OSError."""
    lost = []
    for chain_directory in chain_directories(directory):
        if chain_directory.name in known:
            continue
        reader = ChainReader(
            chain_directory, installation=installation, chain_private_key=chain_private_key, on_record=lambda _: None
        )
        for number in segments(chain_directory):
            reader.read(number)
        reader.finish()
        if reader.lines:
            lost.append(LostChain(chain_directory.name, reader.last_sequence, reader.last_mac.hex()))
    return lost
