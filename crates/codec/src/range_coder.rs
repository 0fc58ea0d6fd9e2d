//! A binary range coder: one symbol per call, with the same models for both directions.
//!
//! The models use the trait [`Coder`]. The encoder writes the symbol that it is passed and returns
//! it; the decoder ignores what it is passed and returns the symbol that it reads. A model that
//! only uses returned symbols is therefore encoder and decoder at once, and the two cannot
//! disagree.
//!
//! The code word is the shortest one within the final interval; beyond its end, both sides assume
//! zeros. The decoder can compute the encoder's `low` (what it has read minus what is left of it),
//! so at the end it can check whether the bytes are exactly what an encoder would have written.
//!
//! Public for models of other numbers than the words of a batch, such as those of the server's
//! packs.

/// A byte is shifted out when the range falls below this.
const RANGE_MIN: u32 = 1 << 24;

/// Maximum number of bits in one division of the range; the remaining range stays above 2^8.
const UNIFORM_BITS: u32 = 16;

/// Probability that a bit is set, in 1/65,536, learned from the bits seen.
///
/// Each bit moves it by 1/2^`PACE` of its error. It stays at least 2^`PACE` - 1 away from both
/// ends, so no bit costs more than 16 - `PACE` and a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probability<const PACE: u32>(u16);

/// Learns within a dozen bits; for bits without a prior.
pub type Quick = Probability<4>;

/// Learns slowly; for bits with a good prior.
pub type Steady = Probability<6>;

impl<const PACE: u32> Probability<PACE> {
    /// Nothing is known: both are equally likely.
    pub const EVEN: Self = Self(1 << 15);

    /// Creates a prior of `set` in 1/65,536.
    #[must_use]
    pub const fn new(set: u16) -> Self {
        Self(set)
    }

    /// Returns how likely a set bit is, in 1/65,536.
    #[must_use]
    pub fn set(self) -> u16 {
        self.0
    }

    /// Moves towards a bit that was seen.
    pub fn learn(&mut self, bit: bool) {
        if bit {
            self.0 += (u16::MAX - self.0) >> PACE;
        } else {
            self.0 -= self.0 >> PACE;
        }
    }
}

/// One direction of the range coder.
pub trait Coder {
    /// Codes one bit with a probability that learns from it.
    fn bit<const PACE: u32>(&mut self, probability: &mut Probability<PACE>, bit: bool) -> bool;

    /// Codes one bit with the probability at one index of a table.
    fn bit_in(&mut self, contexts: &mut [Steady], at: usize, bit: bool) -> bool {
        self.bit(&mut contexts[at], bit)
    }

    /// Codes a number of at most 16 bits; all values are equally likely.
    fn short(&mut self, value: u32, bits: u32) -> u32;

    /// Records that an encoder would not have written the decoded symbol.
    fn reject(&mut self);

    /// Codes a number of `bits` bits; all values are equally likely.
    fn uniform(&mut self, value: u64, bits: u32) -> u64 {
        let mut left = bits;
        let mut coded = 0;
        while left > 0 {
            let take = left.min(UNIFORM_BITS);
            left -= take;
            let mask = (1 << take) - 1;
            let part = u32::try_from((value >> left) & mask).unwrap_or_default();
            coded = coded << take | u64::from(self.short(part, take));
        }
        coded
    }

    /// Codes a number as its bit length (in `class_bits` bits) and the bits below its highest bit.
    fn sized(&mut self, value: u64, class_bits: u32) -> u64 {
        let class = self.short(u64::BITS - value.leading_zeros(), class_bits);
        self.below_highest(value, class)
    }

    /// Codes the bits below the highest bit of a number whose bit length is known.
    fn below_highest(&mut self, value: u64, class: u32) -> u64 {
        match class {
            0 => 0,
            1..=64 => {
                let highest = 1 << (class - 1);
                highest | self.uniform(value & (highest - 1), class - 1)
            }
            _ => {
                self.reject();
                0
            }
        }
    }
}

/// Writes a code word into a buffer; bytes that do not fit are counted and dropped.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut [u8],
    len: usize,
    low: u32,
    range: u32,
}

impl<'a> Encoder<'a> {
    /// Starts a code word at the beginning of a buffer.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, low: 0, range: u32::MAX }
    }

    /// Ends the code word and returns its length, or `None` if the buffer was too small.
    #[must_use]
    pub fn finish(mut self) -> Option<usize> {
        let last = shortest(self.low, self.range);
        self.advance(last.wrapping_sub(self.low));
        for byte in last.to_be_bytes() {
            self.push(byte);
        }
        let written = self.out.get(..self.len)?;
        Some(written.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1))
    }

    fn advance(&mut self, by: u32) {
        let (low, has_carried) = self.low.overflowing_add(by);
        self.low = low;
        if has_carried {
            let end = self.len.min(self.out.len());
            for byte in self.out.iter_mut().take(end).rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }

    fn normalise(&mut self) {
        while self.range < RANGE_MIN {
            self.push(self.low.to_be_bytes()[0]);
            self.low <<= 8;
            self.range <<= 8;
        }
    }
}

impl Coder for Encoder<'_> {
    fn bit<const PACE: u32>(&mut self, probability: &mut Probability<PACE>, bit: bool) -> bool {
        let bound = split(self.range, *probability);
        if bit {
            self.range = bound;
        } else {
            self.advance(bound);
            self.range -= bound;
        }
        probability.learn(bit);
        self.normalise();
        bit
    }

    fn short(&mut self, value: u32, bits: u32) -> u32 {
        self.range >>= bits;
        self.advance(value * self.range);
        self.normalise();
        value
    }

    /// An encoder's symbols come from its caller; only decoders reject.
    fn reject(&mut self) {}
}

/// Reads a code word.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The four bytes of the code word at the current position of the range.
    window: u32,
    /// The window minus the encoder's `low`.
    code: u32,
    range: u32,
    is_rejected: bool,
}

/// The bytes do not end like an encoder's code word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndError {
    /// There are bytes after the code word.
    Trailing,
    /// An encoder would have written other bytes.
    Refused,
}

impl<'a> Decoder<'a> {
    /// Starts reading a code word.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder =
            Self { bytes, at: 0, window: 0, code: 0, range: u32::MAX, is_rejected: false };
        for _ in 0..4 {
            decoder.pull();
        }
        decoder
    }

    /// Whether a symbol was rejected.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.is_rejected
    }

    /// Checks, after everything is read, that an encoder would have written exactly these bytes.
    ///
    /// # Errors
    /// If it would not have.
    pub fn finish(&self) -> Result<(), EndError> {
        if self.bytes.len() > self.at || self.bytes.last() == Some(&0) {
            return Err(EndError::Trailing);
        }
        let low = self.window.wrapping_sub(self.code);
        if self.is_rejected || self.code >= self.range || self.window != shortest(low, self.range) {
            return Err(EndError::Refused);
        }
        Ok(())
    }

    fn pull(&mut self) {
        let byte = u32::from(self.bytes.get(self.at).copied().unwrap_or_default());
        self.at += 1;
        self.window = self.window << 8 | byte;
        self.code = self.code << 8 | byte;
    }

    fn normalise(&mut self) {
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.pull();
        }
    }
}

impl Coder for Decoder<'_> {
    fn bit<const PACE: u32>(&mut self, probability: &mut Probability<PACE>, _: bool) -> bool {
        let bound = split(self.range, *probability);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        probability.learn(bit);
        self.normalise();
        bit
    }

    fn short(&mut self, _: u32, bits: u32) -> u32 {
        self.range >>= bits;
        let mut value = self.code / self.range;
        if value >> bits != 0 {
            self.is_rejected = true;
            value = 0;
            self.code = 0;
        }
        self.code -= value * self.range;
        self.normalise();
        value
    }

    fn reject(&mut self) {
        self.is_rejected = true;
    }
}

/// The part of the range that represents a set bit; never empty and never the whole range.
fn split<const PACE: u32>(range: u32, probability: Probability<PACE>) -> u32 {
    // range >= 2^24 and 0 < probability < 2^16 keep this within 1..range.
    u32::try_from((u64::from(range) * u64::from(probability.set())) >> 16).unwrap_or(1)
}

/// The number in `low..low + range` (modulo 2^32) with the most trailing zero bytes.
fn shortest(low: u32, range: u32) -> u32 {
    for zeros in [32, 24, 16, 8] {
        let mask = u32::try_from((1_u64 << zeros) - 1).unwrap_or(u32::MAX);
        let up = low.wrapping_neg() & mask;
        if up < range {
            return low.wrapping_add(up);
        }
    }
    low
}
