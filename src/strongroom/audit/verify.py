"""Verification of an installation's audit log: `strongroom audit verify`.

`verify` takes the chain private key and recomputes every line of every chain; with the database it also compares the
chains with their registration and the changes with their records. `verify_offline` takes the digest public key
alone, and checks the signed digests and the files they sign, on any machine. Memory does not grow with the log.
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from strongroom.audit.chain import Line
from strongroom.audit.digest_check import FileFacts, check_digests, file_facts
from strongroom.audit.digests import load_public_key
from strongroom.audit.reading import ChainReader, SegmentReading
from strongroom.audit.recovery import RECOVERY_EVENT, ROLLBACK_EVENT, RecoveryDetails, RollbackDetails
from strongroom.audit.segments import chain_directories, segments
from strongroom.model.installation import Installation
from strongroom.storage.contract import AuditChain, Storage


class Finding(NamedTuple):
    """Something that is not as it was written. `chain_id` is empty if it concerns no one chain.

    Kinds: changed, removed, reordered, inserted, damaged (lines); truncated, forged, torn, missing-chain, unregistered
    (chains); missing-segment, changed-segment, missing-digest, bad-digest, bad-signature (segments);
    missing-record, other-record (changes).
    """

    kind: str
    chain_id: str
    message: str


class Report(NamedTuple):
    """What was looked at, and what was found. `records` counts the good lines, 0 offline."""

    chains: int
    segments: int
    records: int
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify_offline(directory: Path, digest_public_key: bytes) -> Report:
    """Check the digests, and the files they sign, with the public key (DER) alone.

    What no digest covers, the newest segment of a server that runs or was killed, is not looked at.
    """
    public_key = load_public_key(digest_public_key)
    findings = []
    chains = chain_directories(directory)
    count = 0
    for chain in chains:
        files = file_facts(chain)
        count += len(files)
        faults = check_digests(chain, public_key, files, installation_id=None, open_end=True)
        findings += [Finding(kind, chain.name, message) for kind, message in faults]
    return Report(len(chains), count, 0, findings)


def verify(directory: Path, installation: Installation, *, chain_private_key: bytes, storage: Storage | None) -> Report:
    """Recompute everything. The server may run meanwhile. Raises OSError, StorageError, and IntegrityError for rows.

    Without `storage`, it cannot be told where a chain should end, and an end without a digest is taken as it is.
    """
    return _Verification(directory, installation, chain_private_key, storage).run()


_RECOVERY = RECOVERY_EVENT.encode()
_ROLLBACK = ROLLBACK_EVENT.encode()


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
        # Change -> SHA-256 of its record, for the changes that are still in the feed; what is found leaves.
        self._changes: dict[int, bytes] = {}
        if storage is not None:
            self._changes = dict(storage.change_records())
            for pending in storage.outbox():
                self._changes.pop(pending.number, None)
            self._registered = {chain.chain_id: chain for chain in storage.chains()}
        self._torn: dict[str, SegmentReading] = {}
        self._recovered: dict[str, RecoveryDetails] = {}
        self._unregistered: list[str] = []
        # Chains that an operator knew to be lost from the database.
        self._accepted: set[str] = set()
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
                self._find("missing-chain", chain.chain_id, "the chain is registered, but its log is missing")
        for chain_id, reading in self._torn.items():
            self._judge_torn(chain_id, reading)
        for chain_id in self._unregistered:
            if chain_id not in self._accepted:
                self._find("unregistered", chain_id, "the database knows no such chain")
        for number in self._changes:
            self._find("missing-record", "", f"change {number} has no record in the log")
        return Report(len(directories), self._segments, self._records, self._findings)

    def _verify_chain(self, directory: Path) -> None:
        chain_id = directory.name
        registered = None if self._registered is None else self._registered.get(chain_id)
        if self._registered is not None and registered is None:
            self._unregistered.append(chain_id)
        reader = ChainReader(
            directory,
            installation_id=self._installation.installation_id,
            chain_private_key=self._private_key,
            on_record=self._take_record,
            watch=registered.sequence if registered is not None else 0,
        )
        readings = [reader.read(number) for number in segments(directory)]
        reader.finish()
        self._segments += len(readings)
        self._records += reader.lines
        for kind, message in reader.damage.findings():
            self._find(kind, chain_id, message)
        if registered is not None:
            self._compare(registered, reader)
        ended = registered is not None and registered.ended
        self._look_for_torn(chain_id, readings, ended=ended)
        files = {reading.number: FileFacts(reading.size, reading.sha256) for reading in readings}
        for kind, message in check_digests(
            directory,
            self._public_key,
            files,
            installation_id=self._installation.installation_id,
            open_end=not ended,
        ):
            self._find(kind, chain_id, message)

    def _compare(self, registered: AuditChain, reader: ChainReader) -> None:
        """Compare a chain with its registration: it may be ahead of it, never behind, and never another."""
        if reader.last_sequence < registered.sequence:
            message = f"the log ends at record {reader.last_sequence}, but had come to {registered.sequence}"
            self._find("truncated", registered.chain_id, message)
        elif reader.watched is not None and reader.watched != registered.mac:
            message = f"record {registered.sequence} is not the one that was registered: the chain was made anew"
            self._find("forged", registered.chain_id, message)
        elif registered.ended and reader.last_sequence > registered.sequence:
            message = f"the chain ended at record {registered.sequence}; the records behind it were added"
            self._find("forged", registered.chain_id, message)

    def _look_for_torn(self, chain_id: str, readings: list[SegmentReading], *, ended: bool) -> None:
        for reading in readings:
            if not reading.torn:
                continue
            if reading is not readings[-1]:
                self._find("damaged", chain_id, f"segment {reading.number} ends in a torn line")
            elif ended or self._registered is None:
                self._torn[chain_id] = reading
            # Else a running server may be writing that line, or the next start closes it.

    def _judge_torn(self, chain_id: str, reading: SegmentReading) -> None:
        """A torn last line needs a recovery record that says the same of it."""
        recovery = self._recovered.get(chain_id)
        if recovery is None:
            self._find("torn", chain_id, "the last line is torn, and no recovery record says so")
        elif (recovery.torn_bytes, recovery.torn_sha256) != (len(reading.torn), sha256(reading.torn).hexdigest()):
            self._find("torn", chain_id, "the torn last line is not the one that the recovery record names")

    def _take_record(self, line: Line) -> None:
        if line.change:
            expected = self._changes.pop(line.change, None)
            if expected is not None and expected != sha256(line.record).digest():
                self._find("other-record", "", f"the record of change {line.change} is not the one committed with it")
        # These records are rare; only what may be one is decoded.
        if _RECOVERY in line.record or _ROLLBACK in line.record:
            event = msgspec.json.decode(line.record, type=_Event)
            if (event.event_name, event.event_type) == (RECOVERY_EVENT, "AwsServiceEvent"):
                details = msgspec.json.decode(event.service_event_details, type=RecoveryDetails)
                self._recovered[details.chain_id] = details
            elif (event.event_name, event.event_type) == (ROLLBACK_EVENT, "AwsServiceEvent"):
                accepted = msgspec.json.decode(event.service_event_details, type=RollbackDetails)
                self._accepted.update(accepted.lost_chains)

    def _find(self, kind: str, chain_id: str, message: str) -> None:
        self._findings.append(Finding(kind, chain_id, message))
