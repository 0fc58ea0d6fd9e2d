//! The encoding of a layout: one deterministic CBOR map with integer keys (RFC 8949, 4.2).
//!
//! ```cddl
//! layout = { 0: 1, 1: tstr, 2: uint, 3: [+ every_ms: uint], 4: [+ read], 5: [+ point],
//!            ? 6: rated_w: uint }
//! read   = [table: uint, group: uint, address: uint, count: uint, * (pass_over: uint, count: uint)]
//! point  = { 0: name: tstr, 1: unit: uint, 2: kind: uint, 3: first_column: uint,
//!            ? 4: column_count: uint,   ; text only
//!            ? 5: 1,                    ; low word first
//!            ? 6: scale_column: uint, ? 7: multiplier: uint, ? 8: places: uint,
//!            ? 9: [+ sentinel: uint], ? 10: min: int, ? 11: max: int,
//!            ? 12: counter: 0 / 1, ? 13: [+ [code: uint, label: tstr]] }
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use ecowatt_model::{COLUMNS_MAX, Unit};
use minicbor::{Decoder, Encoder};

use crate::number_type::{Kind, Table, WordOrder};
use crate::plan::{GROUPS_MAX, READS_MAX};

use super::{
    Column, CounterKind, LABELS_MAX, Label, Layout, LayoutError, POINTS_MAX, Point, SENTINELS_MAX,
};

const VERSION: u64 = 1;

type Written = Result<(), minicbor::encode::Error<Infallible>>;

pub(super) fn encode(layout: &Layout) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    match write_layout(&mut encoder, layout) {
        Ok(()) => encoder.into_writer(),
        // A vector never fails; the error type has no other cause here.
        Err(_) => Vec::new(),
    }
}

fn write_layout(e: &mut Encoder<Vec<u8>>, layout: &Layout) -> Written {
    e.map(6 + u64::from(layout.rated_w.is_some()))?.u8(0)?.u64(VERSION)?;
    e.u8(1)?.str(&layout.profile)?.u8(2)?.u32(layout.profile_version)?;
    e.u8(3)?.array(length(layout.groups.len()))?;
    for &every_ms in &layout.groups {
        e.u32(every_ms)?;
    }
    e.u8(4)?.array(length(layout.columns.chunk_by(is_same_read).count()))?;
    layout.columns.chunk_by(is_same_read).try_for_each(|read| write_read(e, read))?;
    e.u8(5)?.array(length(layout.points.len()))?;
    layout.points.iter().try_for_each(|point| write_point(e, point))?;
    if let Some(rated_w) = layout.rated_w {
        e.u8(6)?.u32(rated_w)?;
    }
    Ok(())
}

fn write_point(e: &mut Encoder<Vec<u8>>, point: &Point) -> Written {
    // Defaults are not written: a layout has exactly one encoding.
    let optional = [
        point.kind == Kind::Text,
        point.word_order == WordOrder::Little,
        point.scale_column.is_some(),
        point.multiplier != 1,
        point.exponent != 0,
        !point.sentinels.is_empty(),
        point.min.is_some(),
        point.max.is_some(),
        point.counter.is_some(),
        !point.labels.is_empty(),
    ];
    e.map(4 + length(optional.iter().filter(|&&is_there| is_there).count()))?;
    e.u8(0)?.str(&point.name)?.u8(1)?.u8(point.unit.code())?;
    e.u8(2)?.u8(point.kind.code())?.u8(3)?.u8(point.first_column)?;
    if point.kind == Kind::Text {
        e.u8(4)?.u8(point.column_count)?;
    }
    if point.word_order == WordOrder::Little {
        e.u8(5)?.u8(1)?;
    }
    if let Some(column) = point.scale_column {
        e.u8(6)?.u8(column)?;
    }
    if point.multiplier != 1 {
        e.u8(7)?.u64(point.multiplier.unsigned_abs())?;
    }
    if point.exponent != 0 {
        e.u8(8)?.u8(point.exponent.unsigned_abs())?;
    }
    if !point.sentinels.is_empty() {
        e.u8(9)?.array(length(point.sentinels.len()))?;
        for &sentinel in &point.sentinels {
            e.u64(sentinel)?;
        }
    }
    if let Some(min) = point.min {
        e.u8(10)?.i64(min)?;
    }
    if let Some(max) = point.max {
        e.u8(11)?.i64(max)?;
    }
    if let Some(counter) = point.counter {
        e.u8(12)?.u8(match counter {
            CounterKind::Monotonic => 0,
            CounterKind::Daily => 1,
        })?;
    }
    if !point.labels.is_empty() {
        e.u8(13)?.array(length(point.labels.len()))?;
        for Label { code, text } in &point.labels {
            e.array(2)?.u32(*code)?.str(text)?;
        }
    }
    Ok(())
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn is_same_read(column: &Column, next: &Column) -> bool {
    column.read == next.read
}

/// The columns of a read as runs of consecutive registers.
fn write_read(e: &mut Encoder<Vec<u8>>, read: &[Column]) -> Written {
    let is_next = |a: &Column, b: &Column| a.address.checked_add(1) == Some(b.address);
    let runs = || read.chunk_by(is_next);
    e.array(2 + 2 * length(runs().count()))?;
    let mut end = None;
    for run in runs() {
        let [first, ..] = run else { continue };
        let count = u16::try_from(run.len()).unwrap_or(u16::MAX);
        match end {
            None => e.u8(first.table.code())?.u8(first.group)?.u16(first.address)?,
            Some(end) => e.u16(first.address.saturating_sub(end))?,
        };
        e.u16(count)?;
        end = Some(first.address.saturating_add(count));
    }
    Ok(())
}

/// Decodes the map; bytes that are not the canonical encoding of their layout are refused.
pub(super) fn decode(bytes: &[u8]) -> Result<Layout, LayoutError> {
    let mut d = Decoder::new(bytes);
    let layout = read_layout(&mut d).map_err(|fault| match fault {
        Fault::Cbor => LayoutError::Malformed(d.position()),
        Fault::Layout(error) => error,
    })?;
    if encode(&layout) != bytes {
        return Err(LayoutError::Malformed(d.position()));
    }
    Ok(layout)
}

enum Fault {
    Cbor,
    Layout(LayoutError),
}

impl From<minicbor::decode::Error> for Fault {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Cbor
    }
}

impl From<LayoutError> for Fault {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

fn read_layout(d: &mut Decoder<'_>) -> Result<Layout, Fault> {
    let fields = d.map()?.filter(|count| (6..=7).contains(count)).ok_or(Fault::Cbor)?;
    key(d, 0)?;
    let version = d.u64()?;
    if version != VERSION {
        return Err(LayoutError::Version(version).into());
    }
    key(d, 1)?;
    let profile = d.str()?;
    key(d, 2)?;
    let profile_version = d.u32()?;
    key(d, 3)?;
    let mut groups = Vec::new();
    for _ in 0..array(d, "groups", GROUPS_MAX)? {
        groups.push(d.u32()?);
    }
    key(d, 4)?;
    let mut columns = Vec::new();
    for number in 0..array(d, "reads", READS_MAX)? {
        let number = u8::try_from(number).map_err(|_| Fault::Cbor)?;
        read_read(d, number, &mut columns)?;
    }
    key(d, 5)?;
    let mut points = Vec::new();
    for _ in 0..array(d, "points", POINTS_MAX)? {
        points.push(read_point(d)?);
    }
    let rated_w = if fields == 7 {
        key(d, 6)?;
        Some(d.u32()?)
    } else {
        None
    };
    Ok(Layout::new(profile, profile_version, &groups, &columns, points)?.rated(rated_w)?)
}

fn read_read(d: &mut Decoder<'_>, read: u8, columns: &mut Vec<Column>) -> Result<(), Fault> {
    let parts = d.array()?.filter(|parts| *parts >= 4 && parts % 2 == 0).ok_or(Fault::Cbor)?;
    let table = Table::from_code(d.u8()?).ok_or(Fault::Cbor)?;
    let (group, mut address) = (d.u8()?, d.u16()?);
    for run in 0..(parts - 2) / 2 {
        if run > 0 {
            address = address.checked_add(d.u16()?).ok_or(Fault::Cbor)?;
        }
        let count = d.u16()?;
        if count == 0 || columns.len() + usize::from(count) > COLUMNS_MAX {
            return Err(LayoutError::Count { what: "columns", count: usize::from(count) }.into());
        }
        for offset in 0..count {
            let address = address.checked_add(offset).ok_or(Fault::Cbor)?;
            columns.push(Column { table, address, group, read });
        }
        address = address.saturating_add(count);
    }
    Ok(())
}

fn read_point(d: &mut Decoder<'_>) -> Result<Point, Fault> {
    let fields = d.map()?.filter(|count| (4..=14).contains(count)).ok_or(Fault::Cbor)?;
    key(d, 0)?;
    let name = String::from(d.str()?);
    key(d, 1)?;
    let unit = Unit::from_code(d.u8()?).ok_or(Fault::Cbor)?;
    key(d, 2)?;
    let kind = Kind::from_code(d.u8()?).ok_or(Fault::Cbor)?;
    key(d, 3)?;
    let mut point = Point {
        name,
        unit,
        kind,
        word_order: WordOrder::Big,
        first_column: d.u8()?,
        column_count: kind.registers().unwrap_or(0),
        scale_column: None,
        multiplier: 1,
        exponent: 0,
        sentinels: Vec::new(),
        min: None,
        max: None,
        counter: None,
        labels: Vec::new(),
    };
    // Order and repetition of the optional keys are not checked here: `decode` encodes the layout
    // again and compares.
    for _ in 4..fields {
        match d.u8()? {
            4 => point.column_count = d.u8()?,
            5 => {
                key(d, 1)?;
                point.word_order = WordOrder::Little;
            }
            6 => point.scale_column = Some(d.u8()?),
            7 => point.multiplier = i64::try_from(d.u64()?).map_err(|_| Fault::Cbor)?,
            8 => {
                let places = i8::try_from(d.u8()?).map_err(|_| Fault::Cbor)?;
                point.exponent = -places;
            }
            9 => {
                for _ in 0..array(d, "sentinels", SENTINELS_MAX)? {
                    point.sentinels.push(d.u64()?);
                }
            }
            10 => point.min = Some(d.i64()?),
            11 => point.max = Some(d.i64()?),
            12 => {
                point.counter = Some(match d.u8()? {
                    0 => CounterKind::Monotonic,
                    1 => CounterKind::Daily,
                    _ => return Err(Fault::Cbor),
                });
            }
            13 => {
                for _ in 0..array(d, "labels", LABELS_MAX)? {
                    if d.array()? != Some(2) {
                        return Err(Fault::Cbor);
                    }
                    let code = d.u32()?;
                    point.labels.push(Label { code, text: d.str()?.into() });
                }
            }
            _ => return Err(Fault::Cbor),
        }
    }
    Ok(point)
}

/// An unsigned integer that must have this value.
fn key(d: &mut Decoder<'_>, expected: u8) -> Result<(), Fault> {
    if d.u8()? == expected { Ok(()) } else { Err(Fault::Cbor) }
}

fn array(d: &mut Decoder<'_>, what: &'static str, max: usize) -> Result<usize, Fault> {
    let count = d.array()?.ok_or(Fault::Cbor)?;
    let count = usize::try_from(count).map_err(|_| Fault::Cbor)?;
    if count > max {
        return Err(LayoutError::Count { what, count }.into());
    }
    Ok(count)
}
