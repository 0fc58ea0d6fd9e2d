"""Batches: tables of register words with times and marks, and the bytes that hold them.

Follows the section "Batch" of `docs/wire-protocol.md`, whose names it uses. Encoder and decoder are
one code, as both must walk through the same probabilities: each step of `_Writer` writes the value it
is given and returns it, and each of `_Reader` ignores what it is given and returns what it reads.
"""

from dataclasses import dataclass
from pathlib import Path

ROWS_MAX, COLUMNS_MAX = 1024, 128
READ = 0
PLAIN, ADAPTIVE = 0, 1
SINCE_BOOT, FINE, IRREGULAR, MARKED = 8, 4, 2, 1
TIME_BITS = {0: 32, FINE: 42, SINCE_BOOT: 20, SINCE_BOOT | FINE: 30}
WRAP = 1 << 64

QUICK, STEADY = 4, 6
FIRST, SECOND, DIFFERS, SIGN, LONGER, UPPER, LOWER = 0, 192, 345, 681, 793, 1269, 1524
PACES = (256, 200, 140, 70, 16)

PRIORS_FILE = Path(__file__).resolve().parents[2] / "docs" / "codec-priors.txt"
PRIORS = [int(word) for word in PRIORS_FILE.read_text().split()]


class Malformed(ValueError):
    """The bytes are not a valid batch."""


@dataclass
class Batch:
    """`times` in milliseconds, one per row; `words` and `marks` are lists of rows."""

    times: list
    words: list
    marks: list
    since_boot: bool = False


def encode(batch):
    """Returns the batch in the shorter of the two formats."""
    return min((_encode(batch, format) for format in (ADAPTIVE, PLAIN)), key=len)


def decode(data):
    if not data or data[0] >> 4 not in (PLAIN, ADAPTIVE):
        raise Malformed("an unknown format")
    flags = data[0] & 15
    reader = _Reader(data[1:])
    times, words, marks = _code(reader, data[0] >> 4, flags, None)
    batch = Batch(times, words, marks, bool(flags & SINCE_BOOT))
    # Each format has one way to write a table, so writing it again detects any other.
    if _encode(batch, data[0] >> 4) != data:
        raise Malformed("not what an encoder writes")
    return batch


def _encode(batch, format):
    if not 1 <= len(batch.times) <= ROWS_MAX or not 1 <= len(batch.words[0]) <= COLUMNS_MAX:
        raise ValueError("a batch has 1 to 1,024 rows and 1 to 128 columns")
    flags = SINCE_BOOT if batch.since_boot else 0
    flags |= FINE if any(time % 1000 for time in batch.times) else 0
    unit = 1 if flags & FINE else 1000
    steps = [_signed(b // unit - a // unit, 64) for a, b in zip(batch.times, batch.times[1:])]
    if steps and not (0 <= steps[0] < 1 << 31 and all(step == steps[0] for step in steps)):
        flags |= IRREGULAR
    if any(mark != READ for row in batch.marks for mark in row):
        flags |= MARKED
    writer = _Writer()
    _code(writer, format, flags, batch)
    return bytes([format << 4 | flags]) + writer.finish()


def _code(coder, format, flags, batch):
    rows = coder.sized(len(batch.times) - 1 if batch else 0, 4) + 1
    columns = coder.sized(len(batch.words[0]) - 1 if batch else 0, 3) + 1
    if rows > ROWS_MAX or columns > COLUMNS_MAX:
        raise Malformed("too many rows or columns")
    times, marks, words = _Times(flags), _Marks(columns), _Words(columns)
    table = [], [], []
    for row in range(rows):
        table[0].append(times.code(coder, row, batch.times[row] if batch else 0))
        marks.start_row()
        words.start_row()
        row_words, row_marks = [], []
        for column in range(columns):
            mark = batch.marks[row][column] if batch else READ
            word = batch.words[row][column] if batch else 0
            if not flags & MARKED:
                mark = READ
            elif format == PLAIN:
                mark = coder.number(mark, 3)
            else:
                mark = marks.code(coder, column, mark)
            if mark != READ:
                word = 0
            elif format == PLAIN:
                word = coder.number(word, 16)
            else:
                word = words.code(coder, column, word)
            row_words.append(word)
            row_marks.append(mark)
        table[1].append(row_words)
        table[2].append(row_marks)
    return table


# --- Range coder -------------------------------------------------------------------------------


class _Coder:
    def long(self, value, bits):
        coded = 0
        while bits > 0:
            take = min(bits, 16)
            bits -= take
            coded = coded << take | self.number(value >> bits & (1 << take) - 1, take)
        return coded

    def sized(self, value, length_bits):
        return self.below_highest(value, self.number(value.bit_length(), length_bits))

    def below_highest(self, value, length):
        if length == 0:
            return 0
        highest = 1 << length - 1
        return highest | self.long(value & highest - 1, length - 1)

    def tree(self, table, start, bits, value, pace):
        node = 1
        for shift in reversed(range(bits)):
            node = node << 1 | self.bit(table, start + node, value >> shift & 1, pace)
        return node - (1 << bits)


class _Writer(_Coder):
    def __init__(self):
        # All that was written, as one number; a carry then needs no code of its own.
        self.low, self.range, self.shifts = 0, 0xFFFFFFFF, 0

    def bit(self, table, at, bit, pace):
        bound = self.range * table[at] >> 16
        if bit:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
        _learn(table, at, bit, pace)
        self._normalise()
        return int(bool(bit))

    def number(self, value, bits):
        self.range >>= bits
        self.low += value * self.range
        self._normalise()
        return value

    def finish(self):
        for zeros in (32, 24, 16, 8, 0):
            last = -(-self.low >> zeros) << zeros
            if last < self.low + self.range:
                return last.to_bytes(self.shifts + 5, "big")[1:].rstrip(b"\0")

    def _normalise(self):
        while self.range < 1 << 24:
            self.low <<= 8
            self.range <<= 8
            self.shifts += 1


class _Reader(_Coder):
    def __init__(self, data):
        self.data, self.at, self.code, self.range = data, 0, 0, 0xFFFFFFFF
        for _ in range(4):
            self._pull()

    def bit(self, table, at, _, pace):
        bound = self.range * table[at] >> 16
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        _learn(table, at, bit, pace)
        self._normalise()
        return bit

    def number(self, _, bits):
        self.range >>= bits
        value = self.code // self.range
        if value >> bits:
            raise Malformed("a number that is out of its range")
        self.code -= value * self.range
        self._normalise()
        return value

    def _pull(self):
        byte = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        self.code = self.code << 8 | byte

    def _normalise(self):
        while self.range < 1 << 24:
            self.range <<= 8
            self._pull()


def _learn(table, at, bit, pace):
    if bit:
        table[at] += 65535 - table[at] >> pace
    else:
        table[at] -= table[at] >> pace


# --- Times -------------------------------------------------------------------------------------


class _Times:
    def __init__(self, flags):
        self.flags = flags
        self.unit = 1 if flags & FINE else 1000
        self.last = self.interval = 0
        self.probabilities = [1 << 15] * (2 + 64)

    def code(self, coder, row, time):
        at = time // self.unit
        if row == 0:
            self.last = self._first(coder, at)
        else:
            step = self._step(coder, row, _signed(at - self.last, 64))
            self.last = _signed(self.last + step, 64)
        return self.last * self.unit

    def _first(self, coder, at):
        bits = TIME_BITS[self.flags & (SINCE_BOOT | FINE)]
        flag = coder.number(0 if 0 <= at < 1 << bits else 7, 3)
        if flag not in (0, 7):
            raise Malformed("a first time of no known length")
        return _signed(coder.long(at % WRAP, bits if flag == 0 else 64), 64)

    def _step(self, coder, row, step):
        if not self.flags & IRREGULAR:
            if row == 1:
                self.interval = coder.sized(step, 5)
            return self.interval
        off = self._off(coder, _signed(step - self.interval, 64))
        step = _signed(self.interval + off, 64)
        if row == 1:
            self.interval = step
        elif abs(off) <= abs(self.interval) // 8:
            self.interval = _signed(self.interval + _divide(off, 4), 64)
        return step

    def _off(self, coder, off):
        if coder.bit(self.probabilities, 0, off == 0, QUICK):
            return 0
        is_positive = coder.bit(self.probabilities, 1, off > 0, QUICK)
        magnitude = off - 1 if off > 0 else -off - 1
        length = coder.tree(self.probabilities, 2, 6, max(magnitude, 0).bit_length(), QUICK)
        magnitude = coder.below_highest(max(magnitude, 0), length)
        return magnitude + 1 if is_positive else -magnitude - 1


# --- Marks -------------------------------------------------------------------------------------


@dataclass
class _ColumnMarks:
    last: int = READ
    before: int = READ
    held: int = 0
    run_read: int = 0
    run_other: int = 0

    def is_over(self):
        run = self.run_read if self.last == READ else self.run_other
        return self.held > 0 and self.held == run

    def push(self, mark):
        if mark == self.last:
            self.held = min(self.held + 1, 65535)
            return
        if self.last == READ:
            self.run_read = self.held
        else:
            self.run_other = self.held
        self.before, self.last, self.held = self.last, mark, 1


class _Marks:
    def __init__(self, columns):
        self.columns = [_ColumnMarks() for _ in range(columns)]
        self.is_expected = [1 << 15] * 12
        self.trees = [1 << 15] * (8 * 8)
        self.neighbour = None

    def start_row(self):
        self.neighbour = None

    def code(self, coder, at, mark):
        column = self.columns[at]
        is_over = column.is_over()
        expected, k = column.before if is_over else column.last, 0
        if self.neighbour:
            its_mark, its_last, was_expected = self.neighbour
            k = 2 + was_expected
            if its_last == column.last:
                expected, k = its_mark, 4 + was_expected
        hit = coder.bit(self.is_expected, 2 * k + is_over, mark == expected, QUICK)
        mark = expected if hit else coder.tree(self.trees, 8 * expected, 3, mark, QUICK)
        self.neighbour = mark, column.last, hit
        column.push(mark)
        return mark


# --- Words -------------------------------------------------------------------------------------


class _Column:
    def __init__(self, word):
        self.seen, self.last = 1, word
        self.averages, self.errors = [32 * word] * 5, [0] * 5
        self.step = self.step_error = self.spread = 0
        self.own = [0, 0]
        self.weights = [0] * 10

    def predict(self, left):
        last = 32 * self.last
        pairs = [(average - last, error) for average, error in zip(self.averages, self.errors)]
        pairs.append((self.step, self.step_error))
        weights = [1 + (((1 << 20) // (error + 4)) ** 2 >> 12) for _, error in pairs]
        weighed = sum(weight * ahead for weight, (ahead, _) in zip(weights, pairs))
        alone = last + _divide(weighed, sum(weights))
        learned = sum(x * weight for x, weight in zip(left + self.own, self.weights))
        expected = alone + (learned * self.spread >> 16)
        return alone, _within(expected, 0, 32 * 65535)

    def surprise(self, off):
        return _within(_divide(16 * off, self.spread + 16), -64, 64)

    def learn(self, alone, expected, word, left):
        actual = 32 * word
        off = actual - expected
        surprise = self.surprise(off)
        for at, x in enumerate(left + self.own):
            self.weights[at] = _within(self.weights[at] + (surprise * x >> 2), -32768, 32767)
        is_second = self.seen == 1
        told = 0 if is_second else self.surprise(actual - alone)
        self.own = [0 if abs(told) == 64 else told, self.own[0]]
        left[:] = [told] + left[:7]

        def pace(long_run):
            return max(long_run, 256 // (self.seen + 1))

        def limit(mean):
            return 1 << 40 if is_second else 7 * mean + 128

        error_pace = 256 if is_second else pace(32)
        for at, long_run in enumerate(PACES):
            most = limit(self.errors[at])
            y = actual - self.averages[at]
            self.errors[at] += _divide((min(abs(y), most) - self.errors[at]) * error_pace, 256)
            if long_run == 256:
                self.averages[at] = actual
            else:
                self.averages[at] += _divide(_within(y, -most, most) * pace(long_run), 256)
        most = limit(self.step_error)
        y = 32 * _signed(word - self.last, 16) - self.step
        self.step_error += _divide((min(abs(y), most) - self.step_error) * error_pace, 256)
        self.step += _divide(_within(y, -most, most) * max(16, 256 // self.seen), 256)
        most = limit(self.spread)
        self.spread += _divide((min(abs(off), most) - self.spread) * error_pace, 256)
        self.last = word
        self.seen = min(self.seen + 1, 255)


class _Words:
    def __init__(self, columns):
        self.columns = [None] * columns
        self.table = list(PRIORS)

    def start_row(self):
        self.left_surprises = [0] * 8
        self.left_length = 0

    def code(self, coder, at, word):
        column = self.columns[at]
        if column is None:
            word = self._first(coder, word)
            self.columns[at] = _Column(word)
            return word
        alone, expected = column.predict(self.left_surprises)
        nearest = expected + 16 >> 5
        beyond = expected - 32 * nearest
        turn = -1 if beyond < 0 else 1
        off = _signed(turn * _signed(word - nearest, 16), 16)
        off = self._off(coder, column, min(abs(beyond) >> 2, 3), off)
        word = nearest + turn * off & 0xFFFF
        column.learn(alone, expected, word, self.left_surprises)
        return word

    def _first(self, coder, word):
        start = FIRST + 32 * self.left_length
        length = coder.tree(self.table, start, 5, word.bit_length(), STEADY)
        if length > 16:
            raise Malformed("a word of more than 16 bits")
        bounds = (0, 4, 8, 11)
        self.left_length = 1 + sum(length > bound for bound in bounds)
        return coder.below_highest(word, length)

    def _off(self, coder, column, d, off):
        second = column.seen == 1
        s = _half_octaves(column.spread)
        age = 0 if column.seen <= 2 else 1 if column.seen <= 4 else 2
        actual, length = abs(off).bit_length(), 0
        while length < 16:
            if second and length < 9:
                at = SECOND + 9 * column.last.bit_length() + length
            elif length == 0:
                at = DIFFERS + 4 * (28 * age + s) + d
            else:
                at = LONGER + 17 * s + length
            if not coder.bit(self.table, at, actual > length, STEADY):
                break
            length += 1
        if length == 0:
            return 0
        if length == 16:
            return -32768
        is_negative = coder.bit(self.table, SIGN + 4 * s + d, off < 0, STEADY)
        c = 17 * (0 if second else (s + 1) // 2) + length
        value, magnitude, left = abs(off), 1, length - 1
        if left:
            left -= 1
            bit = coder.bit(self.table, UPPER + c, value >> left & 1, STEADY)
            magnitude = magnitude << 1 | bit
            if left:
                left -= 1
                at = LOWER + 2 * c + bit
                magnitude = magnitude << 1 | coder.bit(self.table, at, value >> left & 1, STEADY)
                magnitude = magnitude << left | coder.number(value & (1 << left) - 1, left)
        return -magnitude if is_negative else magnitude


def _half_octaves(spread):
    if spread < 2:
        return 0
    k = spread.bit_length() - 2
    half = spread >> k & 1 if k > 0 else 0
    return min(1 + 2 * k + half, 27)


def _divide(a, b):
    """Division that rounds towards zero."""
    return a // b if a >= 0 else -(-a // b)


def _within(value, least, most):
    return max(least, min(most, value))


def _signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value
