import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.audit import chain
from strongroom.audit.chain import ChainState
from strongroom.audit.reading import ChainReader, SegmentReading
from strongroom.audit.segments import log_path, segments
from strongroom.crypto.sealing import public_key_of
from strongroom.model.installation import Installation
from tests.unit.audit import chains

PRIVATE_KEY = bytes(range(1, 33))
DIGEST_KEY = generate_private_key(public_exponent=65537, key_size=2048)
CHAIN_ID = "node1.20260921T141320Z.00112233"
INSTALLATION = Installation(
    installation_id="installation",
    created=1_790_000_000.0,
    chain_public_key=public_key_of(PRIVATE_KEY),
    digest_public_key=DIGEST_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
)
KEY = bytes(32)
FORGED = ("forged", "segment 3 does not begin with a header of this installation")


def make_segment(
    number: int,
    state: ChainState,
    records: list[bytes],
    *,
    chain_id: str = CHAIN_ID,
    digest_key: RSAPrivateKey | None = DIGEST_KEY,
) -> tuple[ChainState, list[bytes]]:
    changes = [(record, index) for index, record in enumerate(records, 1)]
    return chains.make_segment(
        state, changes, installation=INSTALLATION, chain_id=chain_id, segment=number, digest_key=digest_key
    )


def make_chain(count: int = 3, records: int = 6) -> tuple[ChainState, list[list[bytes]]]:
    state = chain.beginning(CHAIN_ID, KEY)
    made = []
    for number in range(1, count + 1):
        state, lines = make_segment(number, state, [b'{"c":%d}' % index for index in range(records)])
        made.append(lines)
    return state, made


LAST, CHAIN = make_chain()


def read(
    contents: list[bytes], *, start: int = 1, watch: int = 0, found: list[int] | None = None
) -> tuple[ChainReader, list[SegmentReading]]:
    """Write segments to a directory of a chain, and read them back from `start`."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / CHAIN_ID
        directory.mkdir()
        for number, content in enumerate(contents, 1):
            log_path(directory, number).write_bytes(content)
        reader = ChainReader(
            directory,
            installation=INSTALLATION,
            chain_private_key=PRIVATE_KEY,
            on_record=lambda line: None if found is None else found.append(line.sequence),
            watch=watch,
        )
        readings = [reader.read(number) for number in segments(directory) if number >= start]
        reader.finish()
        return reader, readings


def joined(lines: list[list[bytes]]) -> list[bytes]:
    return [b"".join(segment) for segment in lines]


def kinds(contents: list[bytes]) -> list[tuple[str, str]]:
    return [(fault.kind, fault.message) for fault in read(contents)[0].damage.faults()]


def test_a_whole_chain_is_read_to_its_end() -> None:
    found: list[int] = []
    reader, readings = read(joined(CHAIN), watch=9, found=found)
    assert not reader.damage
    assert (reader.lines, reader.last_sequence) == (21, 21)
    assert found == [sequence for sequence in range(1, 22) if sequence not in (1, 8, 15)]
    assert [(r.number, r.first_sequence, r.last_sequence, r.torn) for r in readings] == [
        (1, 1, 7, b""),
        (2, 8, 14, b""),
        (3, 15, 21, b""),
    ]
    assert readings[2].last_mac == LAST.mac
    watched = chain.parse(CHAIN[1][1])
    assert watched is not None
    assert reader.watched == watched.mac


def test_reading_may_begin_at_a_later_segment() -> None:
    reader, readings = read(joined(CHAIN), start=3)
    assert not reader.damage
    assert (reader.lines, readings[0].first_sequence, readings[0].last_mac) == (7, 15, LAST.mac)


def test_the_beginning_can_be_watched() -> None:
    assert read(joined(CHAIN))[0].watched == chain.beginning(CHAIN_ID, KEY).mac


def test_a_torn_last_line_is_told_from_damage() -> None:
    contents = joined(CHAIN)
    contents[2] = contents[2][:-1]
    reader, readings = read(contents)
    assert not reader.damage
    assert readings[2].torn == CHAIN[2][-1][:-1]
    assert readings[2].last_sequence == 20


Lines = list[list[bytes]]


def edited(edit: Callable[[Lines], None]) -> list[bytes]:
    lines = [list(segment) for segment in CHAIN]
    edit(lines)
    return joined(lines)


def replace_record(lines: Lines) -> None:
    lines[0][3] = lines[0][3].replace(b'{"c":2}', b'{"c":9}')


def remove_two(lines: Lines) -> None:
    del lines[1][3:5]


def remove_the_end_of_a_segment(lines: Lines) -> None:
    del lines[0][5:]


def swap_neighbors(lines: Lines) -> None:
    lines[0][2], lines[0][3] = lines[0][3], lines[0][2]


def move_a_block(lines: Lines) -> None:
    lines[0][1:6] = lines[0][4:6] + lines[0][1:4]


def repeat_one(lines: Lines) -> None:
    lines[0].insert(5, lines[0][2])


def forge_one(lines: Lines) -> None:
    _, forged = chain.extend(ChainState(3, bytes(32), bytes(32)), b"{}")
    lines[0].insert(3, forged)


def forge_one_far_ahead(lines: Lines) -> None:
    _, forged = chain.extend(ChainState(1000, bytes(32), bytes(32)), b"{}")
    lines[0].insert(3, forged)


def append_one(lines: Lines) -> None:
    _, forged = chain.extend(ChainState(21, LAST.mac, bytes(32)), b"{}")
    lines[2].append(forged)


def insert_noise(lines: Lines) -> None:
    lines[0].insert(3, b"noise\n")


def drop_a_header(lines: Lines) -> None:
    del lines[1][0]


def swap_segments(lines: Lines) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def make_a_segment_anew(lines: Lines) -> None:
    _, lines[2] = make_segment(3, ChainState(14, CHAIN_MAC_14, bytes(32)), [b"{}"], digest_key=None)


def make_a_segment_with_the_installations_key(lines: Lines) -> None:
    _, lines[2] = make_segment(3, ChainState(14, CHAIN_MAC_14, bytes(range(32))), [b"{}"])


def edit_a_header(lines: Lines) -> None:
    lines[2][0] = lines[2][0].replace(b"14:13", b"14:14")


def replace_the_last_of_a_segment(lines: Lines) -> None:
    _, lines[1][6] = chain.extend(ChainState(13, bytes(32), bytes(32)), b"{}")


def append_to_a_segment(lines: Lines) -> None:
    lines[1].append(chain.extend(ChainState(14, bytes(32), bytes(32)), b"{}")[1])


def forge_the_middle(lines: Lines) -> None:
    lines[1][0] = lines[1][0].replace(b"14:13", b"14:14")


_parsed_14 = chain.parse(CHAIN[1][-1])
assert _parsed_14 is not None
CHAIN_MAC_14 = _parsed_14.mac


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (replace_record, [("changed", "record 4 was changed or forged")]),
        (remove_two, [("removed", "records 11 to 12 were removed; the one behind cannot be checked")]),
        (remove_the_end_of_a_segment, [("removed", "records 6 to 7 were removed; the one behind cannot be checked")]),
        (swap_neighbors, [("reordered", "record 4 was moved")]),
        (move_a_block, [("reordered", "records 2 to 4 were moved")]),
        (repeat_one, [("inserted", "record 3 was there once too often")]),
        (forge_one, [("inserted", "record 4 was there once too often")]),
        (forge_one_far_ahead, [("inserted", "record 1001 was there once too often")]),
        (append_one, [("changed", "record 22 was changed or forged")]),
        (insert_noise, [("damaged", "behind record 3 stands a line that is not a record")]),
        (make_a_segment_with_the_installations_key, [("damaged", "segment 3 does not follow the one before it")]),
        (make_a_segment_anew, [FORGED]),
        (edit_a_header, [FORGED]),
        (replace_the_last_of_a_segment, [("changed", "record 14 was changed or forged")]),
        (append_to_a_segment, [("inserted", "record 15 was there once too often")]),
        (
            forge_the_middle,
            [
                ("forged", "segment 2 does not begin with a header of this installation"),
                ("removed", "records 8 to 14 were removed; the one behind cannot be checked"),
            ],
        ),
    ],
)
def test_damage_is_named(edit: Callable[[Lines], None], expected: list[tuple[str, str]]) -> None:
    assert kinds(edited(edit)) == expected


@pytest.mark.parametrize("edit", [drop_a_header, swap_segments])
def test_damage_to_segments_is_found(edit: Callable[[Lines], None]) -> None:
    assert kinds(edited(edit))


def test_a_chain_of_another_name_is_refused() -> None:
    _, lines = make_segment(1, chain.beginning("other", KEY), [b"{}"], chain_id="other")
    assert kinds(joined([lines])) == [("forged", "segment 1 does not begin with a header of this installation")]


def test_no_line_of_a_forged_segment_counts() -> None:
    _, lines = make_segment(1, chain.beginning(CHAIN_ID, KEY), [b"{}"] * 3, digest_key=None)
    found: list[int] = []
    reader, _ = read(joined([lines]), found=found)
    assert (found, reader.lines, reader.last_sequence, reader.watched) == ([], 0, 0, None)


def test_lines_far_ahead_cost_little() -> None:
    far = [b"%d 0 %b {}\n" % (sequence, b"0" * 64) for sequence in range(60_000, 2**24, 60_000)]
    started = time.perf_counter()
    assert kinds(joined([CHAIN[0] + far]))
    assert time.perf_counter() - started < 1


def test_a_flood_of_damage_is_bounded() -> None:
    repeated = [b"3 0 %b {}\n" % (b"0" * 64)] * 5000
    assert len(kinds(joined([CHAIN[0] + repeated]))) == 1000
    noise = [b"noise\n"] * 5000
    assert kinds(joined([CHAIN[0] + noise])) == [("damaged", "behind record 7 stand 5000 lines that are none")]


@st.composite
def edits(draw: st.DrawFn) -> Lines:
    """One to three edits of the whole chain, anywhere, headers included."""
    lines = [line for segment in CHAIN for line in segment]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([index for index, line in enumerate(lines) if line] or [0]))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["remove", "swap", "repeat", "flip", "cut"])):
            case "remove":
                del lines[place : place + draw(st.integers(1, 3))]
                lines = lines or [b"noise\n"]  # so that there is something left to edit
            case "swap":
                lines[place], lines[other] = lines[other], lines[place]
            case "repeat":
                lines.insert(other, lines[place])
            case "flip":
                line = bytearray(lines[place] or b"noise\n")
                line[draw(st.integers(0, len(line) - 1))] ^= 1 << draw(st.integers(0, 7))
                lines[place] = bytes(line)
            case _:
                lines[place] = lines[place][: draw(st.integers(0, max(0, len(lines[place]) - 1)))]
    first, second = sorted(draw(st.tuples(st.integers(0, len(lines)), st.integers(0, len(lines)))))
    if draw(st.booleans()):
        first, second = min(7, len(lines)), min(14, len(lines))
    return [lines[:first], lines[first:second], lines[second:]]


@settings(max_examples=300, deadline=None)
@given(edits())
def test_no_edit_of_any_line_goes_unnoticed(lines: Lines) -> None:
    reader, readings = read(joined(lines))
    whole = not reader.damage and reader.last_sequence == 21 and not any(reading.torn for reading in readings)
    if joined(lines) == joined(CHAIN):
        assert whole
    elif b"".join(joined(lines)) != b"".join(joined(CHAIN)):
        assert not whole
