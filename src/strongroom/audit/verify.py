"""Verification of an installation's audit log: `strongroom audit verify`.

`verify` takes the chain private key and recomputes every line of every chain; with the database it also compares the
chains with their registration and the changes with their records. `verify_offline` takes the digest public key
alone, and checks the signed digests and the files they sign, on any machine. Memory does not grow with the log.
"""

import sys
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from msgspec import Struct

from strongroom.audit.chain import Line, parse
from strongroom.audit.damage import Fault
from strongroom.audit.digest_check import FileFacts, check_digests, file_facts
from strongroom.audit.digests import digest_path, is_signed, load_public_key, read_digest
from strongroom.audit.headers import decode_header, is_genuine
from strongroom.audit.reading import ChainReader, SegmentReading
from strongroom.audit.recovery import RECOVERY_EVENT, RecoveryDetails
from strongroom.audit.rollback import RESTORE_EVENT, ROLLBACK_EVENT, LostChain, RollbackDetails
from strongroom.audit.segments import chain_directories, log_name, log_path, read_lines, segments
from strongroom.model.installation import Installation
from strongroom.storage.contract import AuditChain, Storage


class Finding(NamedTuple):
    """Something that is not as it was written. `chain_id` is empty if it concerns no one chain, `file` if no one file.

    `sequence` is the first record concerned, 0 if it is a file as a whole, or a change. The findings of a chain are in
    the order of its records, those about its digests behind them.

    Kinds: changed, removed, reordered, inserted, damaged, unreadable (lines); truncated, forged, torn, missing-chain,
    unregistered (chains); forged, missing-segment, changed-segment, missing-digest, bad-digest, bad-signature
    (segments); missing-record, other-record (changes).
    """

    kind: str
    chain_id: str
    message: str
    file: str = ""
    sequence: int = 0

    @classmethod
    def of(cls, chain_id: str, fault: Fault) -> "Finding":
        """Return what is wrong with a chain as a finding."""
        return cls(fault.kind, chain_id, fault.message, fault.file, fault.sequence)


class Report(NamedTuple):
    """What was looked at, and what was found.

    `records` counts the good lines, 0 offline. `unsigned` counts the segments without a digest, whose lines were not
    checked: some offline, none otherwise.
    """

    chains: int
    segments: int
    records: int
    findings: list[Finding]
    unsigned: int = 0


def verify_offline(directory: Path, digest_public_key: bytes) -> Report:
    """Check the digests, and the files they sign, with the public key (DER) alone.

    Of what no digest covers, the newest segment of a server that runs or was killed, the header alone is looked at.
    """
    public_key = load_public_key(digest_public_key)
    findings = []
    chains = chain_directories(directory)
    count = unsigned = 0
    for chain in chains:
        files = file_facts(chain)
        count += len(files)
        unsigned += sum(not digest_path(chain, number).exists() for number in files)
        # A running server signs a closed segment within a second or so, when the next one has begun.
        signed_before = max(files, default=0) - 1
        faults = check_digests(chain, public_key, files, installation_id=None, signed_before=signed_before)
        findings += [Finding.of(chain.name, fault) for fault in faults]
        message = "segment {} does not begin with a header of this installation"
        findings += [
            Finding("forged", chain.name, message.format(number), log_name(number))
            for number in files
            if not _begins_genuinely(chain, number, public_key)
        ]
    return Report(len(chains), count, 0, findings, unsigned)


def _begins_genuinely(directory: Path, number: int, public_key: RSAPublicKey) -> bool:
    """Return whether a segment's header is signed, or was not written to its end."""
    first = next(read_lines(log_path(directory, number)), b"")
    line = parse(first)
    header = decode_header(line.record) if line is not None else None
    if header is None:
        return not first.endswith(b"\n")
    return is_genuine(header, chain_id=directory.name, segment=number, public_key=public_key)


def verify(
    directory: Path,
    installation: Installation,
    *,
    chain_private_key: bytes,
    storage: Storage | None,
    fetch: Callable[[], None] = lambda: None,
) -> Report:
    """Recompute everything. The server may run meanwhile. Raises OSError, StorageError, and IntegrityError for rows.

    Without `storage`, it cannot be told where a chain should end, and an end without a digest is taken as it is.
    `fetch` brings the log into `directory` where it is elsewhere: after what the database says of it was read.
    """
    verification = _Verification(directory, installation, chain_private_key, storage)
    fetch()
    return verification.run()


_RECOVERY = RECOVERY_EVENT.encode()
_ROLLBACK = ROLLBACK_EVENT.encode()
_RESTORE = RESTORE_EVENT.encode()


class _Event(Struct, rename="camel"):
    event_name: str
    event_type: str
    service_event_details: msgspec.Raw = msgspec.Raw(b"null")


class _Verification:
    """One run. What the database says is read before the log, which can then only be ahead of it."""

    def __init__(
        self, directory: Path, installation: Installation, chain_private_key: bytes, storage: Storage | None
    ) -> None:
        self._directory = directory
        self._installation = installation
        self._private_key = chain_private_key
        self._public_key = load_public_key(installation.digest_public_key)
        self._registered: dict[str, AuditChain] | None = None
        # Change -> SHA-256 of its record, for the changes that are still in the feed. Read first: it may be trimmed.
        self._changes: dict[int, bytes] = {}
        if storage is not None:
            self._changes = dict(storage.change_records())
            for pending in storage.outbox():
                self._changes.pop(pending.number, None)
            self._registered = {chain.chain_id: chain for chain in storage.chains()}
        self._torn: dict[str, SegmentReading] = {}
        self._recovered: dict[str, RecoveryDetails] = {}
        # Changes whose record is in the log, and those that have another one there.
        self._found: set[int] = set()
        self._others: set[int] = set()
        # What the log holds of chains that the database does not know, and what operators accepted as lost.
        self._unregistered: list[LostChain] = []
        self._accepted: list[RollbackDetails] = []
        self._findings: list[Finding] = []
        self._segments = 0
        self._records = 0

    def run(self) -> Report:
        directories = chain_directories(self._directory)
        for directory in directories:
            self._verify_chain(directory)
        present = {directory.name for directory in directories}
        for chain in (self._registered or {}).values():
            if chain.chain_id not in present and chain.sequence > 0:
                message = "the chain is registered, but its log is missing"
                self._find("missing-chain", chain.chain_id, message, log_name(1), 1)
        for chain_id, reading in self._torn.items():
            self._judge_torn(chain_id, reading)
        self._judge_lost()
        for number in sorted(self._others):
            self._find("other-record", "", f"the record of change {number} is not the one committed with it")
        for number in sorted(self._changes.keys() - self._found - self._others):
            self._find("missing-record", "", f"change {number} has no record in the log")
        return Report(len(directories), self._segments, self._records, self._findings)

    def _verify_chain(self, directory: Path) -> None:
        chain_id = directory.name
        registered = None if self._registered is None else self._registered.get(chain_id)
        known = self._registered is None or registered is not None
        reader = ChainReader(
            directory,
            installation=self._installation,
            chain_private_key=self._private_key,
            # What a chain says that nobody registered is not believed.
            on_record=partial(self._take_record, chain_id) if known else lambda _: None,
            watch=registered.sequence if registered is not None else 0,
        )
        readings = [reader.read(number) for number in segments(directory)]
        reader.finish(*(registered.sequence, registered.mac) if registered is not None else ())
        self._segments += len(readings)
        self._records += reader.lines
        if reader.behind > 0:
            self._find("removed", chain_id, f"records 1 to {reader.behind} were removed", log_name(1), 1)
        self._findings += [Finding.of(chain_id, fault) for fault in reader.damage.faults()]
        if not known:
            self._unregistered.append(LostChain(chain_id, reader.last_sequence, reader.last_mac.hex()))
        if registered is not None:
            self._compare(registered, reader, self._end_of(directory, readings))
        ended = registered is not None and registered.ended
        self._look_for_torn(chain_id, readings, ended=ended)
        files = {reading.number: FileFacts(reading.size, reading.sha256) for reading in readings}
        faults = check_digests(
            directory,
            self._public_key,
            files,
            installation_id=self._installation.installation_id,
            signed_before=_signed_before(registered, readings),
        )
        self._findings += [Finding.of(chain_id, fault) for fault in faults]

    def _compare(self, registered: AuditChain, reader: ChainReader, file: str) -> None:
        """Compare a chain, which ends in `file`, with its registration: it may be ahead, never behind or another."""
        if reader.last_sequence < registered.sequence:
            message = f"the log ends at record {reader.last_sequence}, but had come to {registered.sequence}"
            self._find("truncated", registered.chain_id, message, file, reader.last_sequence + 1)
        elif reader.watched is not None and reader.watched != registered.mac:
            message = f"record {registered.sequence} is not the one that was registered: the chain was made anew"
            self._find("forged", registered.chain_id, message, sequence=registered.sequence)
        elif registered.ended and reader.last_sequence > registered.sequence:
            message = f"the chain ended at record {registered.sequence}; the records behind it were added"
            self._find("forged", registered.chain_id, message, file, registered.sequence + 1)

    def _end_of(self, directory: Path, readings: list[SegmentReading]) -> str:
        """The file in which the chain's next record should be: behind a segment that is whole and closed, the next."""
        if not readings:
            return log_name(1)
        last = readings[-1]
        signed = read_digest(directory, last.number)
        closed = signed is not None and is_signed(signed, self._public_key)
        if signed is not None and closed and signed.digest.last_sequence <= last.last_sequence:
            return log_name(last.number + 1)
        return log_name(last.number)

    def _look_for_torn(self, chain_id: str, readings: list[SegmentReading], *, ended: bool) -> None:
        for reading in readings:
            if not reading.torn:
                continue
            if reading is not readings[-1]:
                message = f"segment {reading.number} ends in a torn line"
                self._find("damaged", chain_id, message, log_name(reading.number), reading.last_sequence + 1)
            elif ended or self._registered is None:
                self._torn[chain_id] = reading
            # Else a running server may be writing that line, or the next start closes it.

    def _judge_torn(self, chain_id: str, reading: SegmentReading) -> None:
        """A torn last line needs a recovery record that says the same of it."""
        recovery = self._recovered.get(chain_id)
        if recovery is None:
            self._find_torn(chain_id, reading, "the last line is torn, and no recovery record says so")
        elif (recovery.torn_bytes, recovery.torn_sha256) != (len(reading.torn), sha256(reading.torn).hexdigest()):
            self._find_torn(chain_id, reading, "the torn last line is not the one that the recovery record names")

    def _find_torn(self, chain_id: str, reading: SegmentReading, message: str) -> None:
        self._find("torn", chain_id, message, log_name(reading.number), reading.last_sequence + 1)

    def _judge_lost(self) -> None:
        """Chains and changes that are not the database's must be what an operator accepted as lost."""
        accepted = {lost.chain_id: lost for rollback in self._accepted for lost in rollback.lost_chains}
        for chain in self._unregistered:
            if chain.chain_id not in accepted:
                self._find("unregistered", chain.chain_id, "the database knows no such chain")
            elif chain != accepted[chain.chain_id]:
                self._find("forged", chain.chain_id, "the chain is not the one that was accepted as lost")
        if self._registered is not None:
            for chain_id in (
                accepted.keys() - self._registered.keys() - {chain.chain_id for chain in self._unregistered}
            ):
                self._find("missing-chain", chain_id, "the chain was accepted as lost, but its log is missing")
        for rollback in self._accepted:
            lost_changes = range(rollback.first_lost_change, rollback.newest_lost_change + 1)
            self._others = {number for number in self._others if number not in lost_changes}

    def _take_record(self, chain_id: str, line: Line) -> None:
        expected = self._changes.get(line.change)
        if expected is not None:
            same = expected == sha256(line.record).digest()
            (self._found if same else self._others).add(line.change)
        # These records are rare; only what may be one is decoded.
        if any(event in line.record for event in (_RECOVERY, _ROLLBACK, _RESTORE)):
            try:
                self._take_event(line.record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                message = f"record {line.sequence} has not the form of its event"
                self._find("unreadable", chain_id, message, sequence=line.sequence)

    def _take_event(self, record: bytes) -> None:
        event = msgspec.json.decode(record, type=_Event)
        if event.event_type != "AwsServiceEvent":
            return
        if event.event_name == RECOVERY_EVENT:
            details = msgspec.json.decode(event.service_event_details, type=RecoveryDetails)
            self._recovered[details.chain_id] = details
        elif event.event_name in (ROLLBACK_EVENT, RESTORE_EVENT):  # a restore goes back knowingly, too
            self._accepted.append(msgspec.json.decode(event.service_event_details, type=RollbackDetails))

    def _find(self, kind: str, chain_id: str, message: str, file: str = "", sequence: int = 0) -> None:
        self._findings.append(Finding(kind, chain_id, message, file, sequence))


def _signed_before(registered: AuditChain | None, readings: list[SegmentReading]) -> int:
    """The segments before this one must have a digest: they are signed before what follows them is registered."""
    if registered is None:
        return max((reading.number for reading in readings), default=0) - 1
    if registered.ended:
        return sys.maxsize
    begun = [reading.number for reading in readings if reading.first_sequence <= registered.sequence]
    return max(begun, default=0)
