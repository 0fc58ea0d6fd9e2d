//! The device's encoder: packets byte for byte as the firmware makes them, flaws included.
//!
//! [`exact`] makes the two forms that restore every value. [`Encoder`] makes all of them and keeps
//! what the firmware keeps between packets; it is for tools and tests that stand in for a device.

use alloc::vec::Vec;

/// How the firmware can make a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// 0xD0, or 0x01 where that is not shorter than the raw values.
    Dictionary,
    /// 0x70, and 0x71 once eight packets of the same registers were made.
    Temporal,
    /// 0x50.
    Semantic,
    /// 0x01.
    BitPack,
}

impl Method {
    /// All methods, in the order in which the firmware tries them.
    pub const ALL: [Self; 4] = [Self::Dictionary, Self::Temporal, Self::Semantic, Self::BitPack];

    /// Returns its name in the description of an upload's packet.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dictionary => "dictionary",
            Self::Temporal => "temporal",
            Self::Semantic => "semantic",
            Self::BitPack => "bitpack",
        }
    }

    /// Returns the method that a packet's first byte stands for.
    #[must_use]
    pub const fn of_marker(marker: u8) -> Option<Self> {
        match marker {
            0xd0 => Some(Self::Dictionary),
            0x70 | 0x71 => Some(Self::Temporal),
            0x50 => Some(Self::Semantic),
            0x01 => Some(Self::BitPack),
            _ => None,
        }
    }
}

/// Returns the shorter packet of the forms 0xD0 and 0x01, which restore every value.
#[must_use]
pub fn exact(values: &[u16]) -> Vec<u8> {
    let (table, packed) = (dictionary(values), bit_packed(values));
    if packed.len() < table.len() { packed } else { table }
}

/// Registers that the firmware knows.
const REGISTERS: usize = 10;

/// Packets whose last samples it keeps.
const SLOTS: usize = 8;

/// What the firmware keeps between packets.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    /// Last value of each register in a packet. A register that a packet lacks keeps its value from
    /// eight packets before.
    slots: [[u16; REGISTERS]; SLOTS],
    next: usize,
    /// Whether eight packets were made.
    is_full: bool,
    /// The register of each value of the last packet.
    last: Vec<u8>,
}

impl Encoder {
    /// Makes a packet as the firmware chooses it: the shortest, the first of equals.
    #[must_use]
    pub fn encode(&mut self, registers: &[u8], values: &[u16]) -> Vec<u8> {
        let mut shortest: Option<Vec<u8>> = None;
        for method in Method::ALL {
            let packet = self.encode_by(method, registers, values);
            if shortest.as_ref().is_none_or(|shortest| packet.len() < shortest.len()) {
                shortest = Some(packet);
            }
        }
        shortest.unwrap_or_default()
    }

    /// Makes a packet by one method. `values` are whole samples of `registers`.
    #[must_use]
    pub fn encode_by(&mut self, method: Method, registers: &[u8], values: &[u16]) -> Vec<u8> {
        match method {
            Method::Dictionary => dictionary(values),
            Method::Temporal => self.temporal(registers, values),
            Method::Semantic => semantic(registers, values),
            Method::BitPack => bit_packed(values),
        }
    }

    fn temporal(&mut self, registers: &[u8], values: &[u16]) -> Vec<u8> {
        let ids: Vec<u8> = registers.iter().copied().cycle().take(values.len()).collect();
        // The firmware compares as many registers as there are values with an array of ten, behind
        // which stands something else.
        let is_known = self.is_full && ids.len() <= REGISTERS && self.last == ids;
        let packet = if is_known { self.deltas(&ids, values) } else { base(&ids, values) };
        for (id, value) in ids.iter().zip(values) {
            if let Some(slot) = self.slots[self.next].get_mut(usize::from(*id)) {
                *slot = *value;
            }
        }
        self.last = ids;
        self.next = (self.next + 1) % SLOTS;
        self.is_full |= self.next == 0;
        packet
    }

    fn deltas(&self, ids: &[u8], values: &[u16]) -> Vec<u8> {
        let mut packet = alloc::vec![0x71, count(values)];
        for (id, value) in ids.iter().zip(values) {
            let slot = |back: usize| {
                let slot = &self.slots[(self.next + SLOTS - back) % SLOTS];
                slot.get(usize::from(*id)).copied().unwrap_or_default()
            };
            let (last, before) = (slot(1), slot(2));
            let line = 2 * i32::from(last) - i32::from(before);
            let predicted = u16::try_from(line).unwrap_or(last);
            let delta = value.wrapping_sub(predicted).cast_signed();
            match delta {
                -63..=63 => {
                    let sign = if delta < 0 { 0x40 } else { 0 };
                    packet.push(0x80 | sign | low_byte(delta.unsigned_abs()));
                }
                -127..=127 => packet.extend([0, low_byte(delta.cast_unsigned())]),
                _ => {
                    packet.push(1);
                    packet.extend(delta.to_le_bytes());
                }
            }
        }
        packet
    }
}

fn base(ids: &[u8], values: &[u16]) -> Vec<u8> {
    let mut packet = alloc::vec![0x70, count(values)];
    packet.extend(ids);
    packet.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    packet
}

fn bit_packed(values: &[u16]) -> Vec<u8> {
    let largest = values.iter().copied().max().unwrap_or_default();
    let width = (u16::BITS - largest.leading_zeros()).clamp(8, 16);
    let mut packet = alloc::vec![1, u8::try_from(width).unwrap_or(16), count(values)];
    let (mut bits, mut held) = (0u32, 0u32);
    for value in values {
        bits = bits << width | u32::from(*value);
        held += width;
        while held >= 8 {
            held -= 8;
            packet.push(low_byte_of(bits >> held));
            bits &= (1 << held) - 1;
        }
    }
    if held > 0 {
        packet.push(low_byte_of(bits << (8 - held)));
    }
    packet
}

fn dictionary(values: &[u16]) -> Vec<u8> {
    let mut table: Vec<u16> = Vec::new();
    let mut places = Vec::with_capacity(values.len());
    for value in values {
        let known = table.iter().position(|entry| entry == value);
        places.push(known.unwrap_or(table.len()));
        if known.is_none() {
            table.push(*value);
        }
    }
    let width = usize::BITS - table.len().leading_zeros();
    let length = 3 + 4 * table.len() + crate::bits::len(values.len(), width);
    let Ok(entries) = u8::try_from(table.len()) else { return bit_packed(values) };
    if length >= 2 * values.len() {
        return bit_packed(values);
    }
    let mut packet = alloc::vec![0xd0, count(values), entries];
    packet.extend(table.iter().flat_map(|entry| f32::from(*entry).to_le_bytes()));
    let (mut bits, mut held) = (0usize, 0u32);
    for place in places {
        bits |= place << held;
        held += width;
        while held >= 8 {
            packet.push(low_byte_of_size(bits));
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        packet.push(low_byte_of_size(bits));
    }
    packet
}

/// A group of registers in the semantic form.
struct Kind {
    number: u8,
    /// A value that differs by this much from the first of its run joins the run.
    tolerance: u16,
    /// Whether only the low byte of a value is sent.
    is_byte: bool,
}

fn kind(register: u8) -> Kind {
    let (number, tolerance, is_byte) = match register {
        0 => (1, 10, false),
        1 => (2, 5, true),
        2 => (3, 1, true),
        3 | 4 => (4, 15, false),
        5 | 6 => (5, 3, true),
        7 => (6, 5, false),
        8 | 9 => (7, 50, false),
        _ => (0, 0, false),
    };
    Kind { number, tolerance, is_byte }
}

fn semantic(registers: &[u8], values: &[u16]) -> Vec<u8> {
    let mut groups: Vec<(Kind, Vec<(usize, u16)>)> = Vec::new();
    for (place, (register, value)) in registers.iter().cycle().zip(values).enumerate() {
        let kind = kind(*register);
        let member = (place, *value);
        match groups.iter_mut().find(|(known, _)| known.number == kind.number) {
            Some((_, members)) => members.push(member),
            None => groups.push((kind, alloc::vec![member])),
        }
    }
    let mut packet = alloc::vec![0x50, count(values), low_byte_of_size(groups.len())];
    for (kind, members) in &groups {
        packet.extend([kind.number, low_byte_of_size(members.len())]);
        packet.extend(members.iter().map(|(place, _)| low_byte_of_size(*place)));
        let mut rest = members.as_slice();
        while let Some((_, first)) = rest.first() {
            let joins = |value: u16| value.abs_diff(*first) <= kind.tolerance;
            let run = rest.iter().take(255).take_while(|(_, value)| joins(*value)).count();
            let [low, high] = first.to_le_bytes();
            packet.push(low);
            if !kind.is_byte {
                packet.push(high);
            }
            packet.push(low_byte_of_size(run));
            rest = &rest[run..];
        }
    }
    packet
}

/// The count in a packet, which has room for one byte.
fn count(values: &[u16]) -> u8 {
    low_byte_of_size(values.len())
}

fn low_byte(number: u16) -> u8 {
    number.to_le_bytes()[0]
}

fn low_byte_of(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

fn low_byte_of_size(number: usize) -> u8 {
    number.to_le_bytes()[0]
}
