"""The part of CBOR (RFC 8949) that the link protocol uses, in the one permitted encoding.

Definite lengths, shortest heads, and map keys that ascend; everything else is refused, as the server
refuses it. Python's types stand for CBOR's: int, bytes, str, list, dict, bool and None.
"""

DEPTH_MAX = 16


class Malformed(ValueError):
    """The bytes are not in the encoding that the protocol permits."""


def encode(value):
    if value is None:
        return b"\xf6"
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, (list, tuple)):
        return _head(4, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        items = sorted(value.items())
        return _head(5, len(items)) + b"".join(encode(k) + encode(v) for k, v in items)
    raise TypeError(f"{type(value)} has no place in the protocol")


def decode(data):
    """Decodes one value that fills `data`."""
    value, rest = _take(bytes(data), 0, 0)
    if rest != len(data):
        raise Malformed("bytes follow the value")
    return value


def _head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} is too large")


def _take(data, at, depth):
    if depth > DEPTH_MAX or at >= len(data):
        raise Malformed("too deep or too short")
    major, code = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        simple = {20: False, 21: True, 22: None}
        if code not in simple:
            raise Malformed("a value of no known kind")
        return simple[code], at
    if code < 24:
        number = code
    elif code < 28:
        size = 1 << code - 24
        number = int.from_bytes(data[at : at + size], "big")
        at += size
        if at > len(data) or number < (24 if size == 1 else 1 << 4 * size):
            raise Malformed("a head that could be shorter")
    else:
        raise Malformed("an indefinite length")
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        piece = data[at : at + number]
        if len(piece) != number:
            raise Malformed("a string that is cut off")
        try:
            return (piece if major == 2 else piece.decode()), at + number
        except UnicodeDecodeError as error:
            raise Malformed("text that is not UTF-8") from error
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _take(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        entries = {}
        for _ in range(number):
            key, at = _take(data, at, depth + 1)
            if not isinstance(key, int) or (entries and key <= max(entries)):
                raise Malformed("map keys are numbers and ascend")
            entries[key], at = _take(data, at, depth + 1)
        return entries, at
    raise Malformed("a tag")
