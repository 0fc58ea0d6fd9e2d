"""Layouts: which register each column of a batch is, and what the columns mean.

Follows the section "Layout" of `docs/wire-protocol.md`, whose names it uses.
"""

from dataclasses import dataclass, field

import cbor

UNITS = ("", "W", "VA", "var", "Wh", "V", "A", "Hz", "degC", "%", "s")
KINDS = ("u16", "i16", "u32", "i32", "u64", "acc32", "f32", "enum16", "bits16", "bits32", "str")
WIDTHS = (1, 1, 2, 2, 4, 2, 2, 1, 1, 2, None)
TABLES = ("holding", "input")
COUNTERS = ("monotonic", "daily")
BYTES_MAX = 4096


@dataclass
class Read:
    """One Modbus request; `runs` are (first register, registers), by address."""

    table: str
    group: int
    runs: list


@dataclass
class Point:
    name: str
    unit: str
    kind: str
    first_column: int
    column_count: int = None
    low_word_first: bool = False
    scale_column: int = None
    multiplier: int = 1
    places: int = 0
    sentinels: list = field(default_factory=list)
    min: int = None
    max: int = None
    counter: str = None
    labels: list = field(default_factory=list)

    def columns(self):
        width = WIDTHS[KINDS.index(self.kind)] or self.column_count
        return range(self.first_column, self.first_column + width)


@dataclass
class Layout:
    profile: str
    profile_version: int
    groups_ms: list
    reads: list
    points: list
    rated_w: int = None

    def columns(self):
        return sum(count for read in self.reads for _, count in read.runs)


def encode(layout):
    entries = {
        0: 1,
        1: layout.profile,
        2: layout.profile_version,
        3: layout.groups_ms,
        4: [_encode_read(read) for read in layout.reads],
        5: [_encode_point(point) for point in layout.points],
    }
    if layout.rated_w is not None:
        entries[6] = layout.rated_w
    return cbor.encode(entries)


def decode(data):
    entries = cbor.decode(data)
    if len(data) > BYTES_MAX or entries.get(0) != 1:
        raise cbor.Malformed("too long, or another version")
    layout = Layout(
        profile=entries[1],
        profile_version=entries[2],
        groups_ms=entries[3],
        reads=[_decode_read(read) for read in entries[4]],
        points=[_decode_point(point) for point in entries[5]],
        rated_w=entries.get(6),
    )
    if encode(layout) != data:
        raise cbor.Malformed("another spelling of a layout")
    return layout


def _encode_read(read):
    (first, count), *others = read.runs
    items = [TABLES.index(read.table), read.group, first, count]
    end = first + count
    for first, count in others:
        items += [first - end, count]
        end = first + count
    return items


def _decode_read(items):
    table, group, first, count, *pairs = items
    runs, end = [(first, count)], first + count
    for pass_over, count in zip(pairs[::2], pairs[1::2]):
        runs.append((end + pass_over, count))
        end += pass_over + count
    return Read(TABLES[table], group, runs)


def _encode_point(point):
    optional = {
        4: point.column_count,
        5: 1 if point.low_word_first else None,
        6: point.scale_column,
        7: point.multiplier if point.multiplier != 1 else None,
        8: point.places or None,
        9: point.sentinels or None,
        10: point.min,
        11: point.max,
        12: None if point.counter is None else COUNTERS.index(point.counter),
        13: [list(label) for label in point.labels] or None,
    }
    required = {
        0: point.name,
        1: UNITS.index(point.unit),
        2: KINDS.index(point.kind),
        3: point.first_column,
    }
    return required | {key: value for key, value in optional.items() if value is not None}


def _decode_point(entries):
    counter = entries.get(12)
    return Point(
        name=entries[0],
        unit=UNITS[entries[1]],
        kind=KINDS[entries[2]],
        first_column=entries[3],
        column_count=entries.get(4),
        low_word_first=5 in entries,
        scale_column=entries.get(6),
        multiplier=entries.get(7, 1),
        places=entries.get(8, 0),
        sentinels=entries.get(9, []),
        min=entries.get(10),
        max=entries.get(11),
        counter=None if counter is None else COUNTERS[counter],
        labels=[tuple(label) for label in entries.get(13, [])],
    )
