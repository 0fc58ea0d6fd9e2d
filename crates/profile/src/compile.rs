//! Compiles a profile to a plan and a layout: which reads cover the points at the lowest cost.
//!
//! Registers of one point (a number of several words, a SunSpec value and its scale factor) form a
//! *span*, which is never split over two reads. Spans of a group are joined over holes that are
//! cheaper to read than a second request. A slower group's span inside a faster group's read is
//! taken from that read at no cost. The header of each SunSpec model in use is a span of its own,
//! so that every sample shows whether the model is still there.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::layout::{Column, Layout, LayoutError, Point};
use crate::number_type::{Kind, Table, WordOrder};
use crate::plan::{
    Group, Plan, PlanError, Read, SLEEP_WORDS_MAX, SleepCondition, SleepRule, SleepScale,
    SleepTest, Transport, low_bits,
};
use crate::profile::{PlausibleRange, PointSpec, Profile, RegisterPlace, SleepSpecTest};
use crate::sunspec::{FoundModel, HEADER_LEN};

use alloc::string::String;

/// A profile compiled for one inverter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Which registers to read.
    pub plan: Plan,
    /// What their words mean.
    pub layout: Layout,
}

/// Why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// SunSpec points have no addresses until [`Profile::resolve`] sets them.
    #[error("point {0} has no address until the device's models are known")]
    Unresolved(String),
    /// The point's registers do not fit in one read.
    #[error("the registers of point {0} do not fit one read")]
    Torn(String),
    /// The plan exceeds a limit.
    #[error("too much to read")]
    Plan(#[from] PlanError),
    /// The layout exceeds a limit.
    #[error("too much to describe")]
    Layout(#[from] LayoutError),
}

/// The registers of one point, or of the header of a SunSpec model.
#[derive(Debug, Clone)]
struct Span {
    point: Option<usize>,
    group: usize,
    table: Table,
    /// From the first register to one past the last; `u32`, because the last may be 65,535.
    range: Range<u32>,
}

/// A read under construction.
#[derive(Debug)]
struct PlannedRead {
    group: usize,
    table: Table,
    range: Range<u32>,
    spans: Vec<Span>,
}

impl Profile {
    /// Compiles the plan and layout for an inverter behind this kind of link.
    ///
    /// # Errors
    /// When the profile is not resolved or a limit is exceeded.
    pub fn compile(&self, transport: Transport) -> Result<Compiled, CompileError> {
        let spans = self.spans()?;
        let planned = self.plan_reads(&spans, transport);
        let reads: Vec<Read> = planned.iter().map(|read| read.to_read(&self.points)).collect();
        let groups: Vec<Group> = self.groups.iter().map(|named| named.group).collect();
        // Sleep conditions name columns, which are numbered in a plan without the rule.
        let numbered = Plan::new(&groups, &reads, None)?;
        let read_of = |point: usize| {
            let is_its = |span: &Span| span.point == Some(point);
            let at = planned.iter().position(|read| read.spans.iter().any(is_its));
            at.and_then(|at| numbered.reads().get(at))
        };
        let conditions: Option<Vec<SleepCondition>> = self
            .sleep
            .iter()
            .map(|sleep| {
                let index = self.points.iter().position(|point| point.name == sleep.point)?;
                sleep.test.compile(&self.points[index], read_of(index)?)
            })
            .collect();
        let sleep = match conditions {
            Some(conditions) if !conditions.is_empty() => Some(SleepRule::new(&conditions)?),
            // A rule without one of its conditions would take a working inverter for asleep.
            Some(_) | None => None,
        };
        let plan = Plan::new(&groups, &reads, sleep)?.with_guards(&self.headers)?;
        let points = self
            .points
            .iter()
            .enumerate()
            .map(|(index, point)| {
                read_of(index)
                    .and_then(|read| layout_point(point, read, numbered.reads(), self.rated_w))
                    .ok_or_else(|| CompileError::Torn(point.name.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let texts = points.iter().filter(|point| point.kind == Kind::Text);
        let plan =
            texts.fold(plan, |plan, text| plan.with_text(text.first_column, text.column_count));
        let every: Vec<u32> = groups.iter().map(|group| group.every_ms).collect();
        let layout = Layout::new(&self.id, self.version, &every, &columns(&plan), points)?
            .rated(self.rated_w)?;
        Ok(Compiled { plan, layout })
    }

    fn spans(&self) -> Result<Vec<Span>, CompileError> {
        let mut spans = vec![];
        for (index, point) in self.points.iter().enumerate() {
            let RegisterPlace::Registers { table, address, count, kind, scale_address, .. } =
                point.place
            else {
                return Err(CompileError::Unresolved(point.name.clone()));
            };
            let scale = scale_address.map(u32::from);
            let start = u32::from(address);
            let end = start + u32::from(count);
            let range = scale.map_or(start, |scale| scale.min(start))
                ..scale.map_or(end, |scale| end.max(scale + 1));
            let registers_max = u32::from(self.transport.registers_max);
            let span = Span { point: Some(index), group: point.group, table, range };
            let is_too_long = span.len() > registers_max && kind != Kind::Text;
            if is_too_long || self.has_barrier(table, &span.range) {
                return Err(CompileError::Torn(point.name.clone()));
            }
            // A text may be split over several reads, a number or scaled value may not.
            let mut rest = span;
            while rest.len() > registers_max {
                let cut = rest.range.start + registers_max;
                spans.push(Span { range: rest.range.start..cut, ..rest.clone() });
                rest.range.start = cut;
            }
            spans.push(rest);
        }
        let headers = self.headers.iter().filter_map(|header| self.header(*header, &spans));
        let headers: Vec<Span> = headers.collect();
        spans.extend(headers);
        Ok(spans)
    }

    /// The header of a model, read as often as the model's most frequently read point.
    fn header(&self, model: FoundModel, spans: &[Span]) -> Option<Span> {
        let start = u32::from(model.address);
        let header_end = start + u32::from(HEADER_LEN);
        let end = header_end + u32::from(model.length);
        let is_inside = |span: &&Span| {
            span.table == Table::Holding && span.range.start >= start && span.range.end <= end
        };
        let groups = spans.iter().filter(is_inside).map(|span| span.group);
        let group = groups.min_by_key(|&group| self.pause(group))?;
        Some(Span { point: None, group, table: Table::Holding, range: start..header_end })
    }

    /// Sort key for the interval of a group; "once per connection" (0) wraps round to the longest.
    fn pause(&self, group: usize) -> u32 {
        self.groups[group].group.every_ms.wrapping_sub(1)
    }

    fn has_barrier(&self, table: Table, registers: &Range<u32>) -> bool {
        self.transport
            .barriers
            .iter()
            .any(|of| of.table == table && registers.contains(&u32::from(of.address)))
    }

    fn plan_reads(&self, spans: &[Span], transport: Transport) -> Vec<PlannedRead> {
        let hole_max = u32::from(self.transport.hole_max.unwrap_or_else(|| transport.hole_max()));
        let mut by_speed: Vec<usize> = (0..self.groups.len()).collect();
        by_speed.sort_by_key(|&group| self.pause(group));
        let mut planned: Vec<PlannedRead> = vec![];
        for group in by_speed {
            let mut own: Vec<&Span> = spans.iter().filter(|span| span.group == group).collect();
            own.retain(|span| {
                let host = planned.iter_mut().find(|read| read.covers(span));
                host.map(|read| read.spans.push((*span).clone())).is_none()
            });
            own.sort_by_key(|span| (span.table, span.range.start, span.range.end));
            let first_own = planned.len();
            for span in own {
                let current = planned[first_own..].last_mut();
                match current.filter(|read| self.may_join(read, span, hole_max)) {
                    Some(read) => {
                        read.range.end = read.range.end.max(span.range.end);
                        read.spans.push(span.clone());
                    }
                    None => planned.push(PlannedRead {
                        group,
                        table: span.table,
                        range: span.range.clone(),
                        spans: vec![span.clone()],
                    }),
                }
            }
        }
        planned
    }

    fn may_join(&self, read: &PlannedRead, span: &Span, hole_max: u32) -> bool {
        let joined = read.range.start..read.range.end.max(span.range.end);
        read.table == span.table
            && joined.end - joined.start <= u32::from(self.transport.registers_max)
            && span.range.start.saturating_sub(read.range.end) <= hole_max
            && !self.has_barrier(read.table, &joined)
    }
}

impl Span {
    const fn len(&self) -> u32 {
        self.range.end - self.range.start
    }
}

impl PlannedRead {
    fn covers(&self, span: &Span) -> bool {
        self.table == span.table
            && self.range.start <= span.range.start
            && span.range.end <= self.range.end
    }

    fn to_read(&self, points: &[PointSpec]) -> Read {
        // A span fits in one read, and so do joined spans: every offset here is at most 125.
        let offset = |register: u32| {
            u16::try_from(register.saturating_sub(self.range.start)).unwrap_or(u16::MAX)
        };
        let bits = |from: u32, to: u32| low_bits(offset(to)) & !low_bits(offset(from));
        let (mut wanted, mut torn) = (0, 0);
        for span in &self.spans {
            let place = span.point.map(|point| &points[point].place);
            match place {
                Some(RegisterPlace::Registers {
                    address,
                    count,
                    scale_address: Some(scale),
                    ..
                }) => {
                    let (start, scale) = (u32::from(*address), u32::from(*scale));
                    wanted |= bits(start, start + u32::from(*count)) | bits(scale, scale + 1);
                }
                // Every register of the span.
                Some(RegisterPlace::Registers { .. } | RegisterPlace::SunSpec(_)) | None => {
                    wanted |= bits(span.range.start, span.range.end);
                }
            }
            torn |= bits(span.range.start + 1, span.range.end);
        }
        let count = offset(self.range.end);
        let address = u16::try_from(self.range.start).unwrap_or(u16::MAX);
        let group = u8::try_from(self.group).unwrap_or(u8::MAX);
        let cuts = low_bits(count) & !torn;
        Read { wanted, cuts, ..Read::of_all(self.table, address, count, group, 0) }
    }
}

impl SleepSpecTest {
    /// Returns the condition on a word, or `None` if the point is neither one plain word nor a
    /// float.
    fn compile(&self, point: &PointSpec, read: &Read) -> Option<SleepCondition> {
        let RegisterPlace::Registers { address, count, kind, word_order, scale_address, .. } =
            point.place
        else {
            return None;
        };
        let column = |address| read.column_of(address).and_then(|column| u8::try_from(column).ok());
        if kind == Kind::F32
            && let Self::Below(units) = self
        {
            let high = match word_order {
                WordOrder::Big => address,
                WordOrder::Little => address.checked_add(1)?,
            };
            let test = below_float(*units, point.exponent)?;
            return Some(SleepCondition { column: column(high)?, test });
        }
        if count != 1 {
            return None;
        }
        let test = match self {
            Self::Below(units) => {
                if !matches!(kind, Kind::U16 | Kind::I16) {
                    return None;
                }
                let limit = i32::try_from(units / point.multiplier).ok()?;
                let scale = match scale_address {
                    Some(address) => {
                        Some(SleepScale { column: column(address)?, exponent: point.exponent })
                    }
                    None => None,
                };
                SleepTest::Below { limit, is_signed: kind == Kind::I16, scale }
            }
            Self::OneOf(list) => one_of(list.iter().copied()),
            Self::Labelled(labels) => {
                let code = |label: &String| {
                    let found = point.labels.iter().find(|known| known.text == *label);
                    found.and_then(|found| u16::try_from(found.code).ok())
                };
                one_of(labels.iter().filter_map(code))
            }
        };
        Some(SleepCondition { column: column(address)?, test })
    }
}

/// Returns the test of a float's high word: as numbers of 16 bits with a sign, high words have the
/// order of the floats above zero, negative floats are below, and "not a number" is above any
/// limit. The limit's low word is dropped, which lowers it by less than a hundredth. `None` if the
/// limit is not positive.
fn below_float(units: i64, exponent: i8) -> Option<SleepTest> {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "rounded")]
    let limit = (units as f64 * std::primitive::f64::powi(10.0, exponent.into())) as f32;
    let high = i32::try_from(limit.to_bits() >> 16).ok().filter(|_| limit > 0.0)?;
    Some(SleepTest::Below { limit: high, is_signed: true, scale: None })
}

fn one_of(list: impl Iterator<Item = u16>) -> SleepTest {
    let mut words = [0; SLEEP_WORDS_MAX];
    let mut count = 0;
    for (slot, word) in words.iter_mut().zip(list) {
        *slot = word;
        count += 1;
    }
    SleepTest::OneOf { words, count }
}

/// Builds the layout point in the columns of these reads; `first` is the read that it begins in.
fn layout_point(
    point: &PointSpec,
    first: &Read,
    reads: &[Read],
    rated_w: Option<u32>,
) -> Option<Point> {
    let RegisterPlace::Registers {
        address,
        count,
        kind,
        word_order,
        ref sentinels,
        scale_address,
        ..
    } = point.place
    else {
        return None;
    };
    let column = |address| first.column_of(address).and_then(|column| u8::try_from(column).ok());
    let scale_column = match scale_address {
        Some(address) => Some(column(address)?),
        None => None,
    };
    // Even if a text is split over several reads, its columns must be consecutive.
    let (first_column, last) = (column(address)?, address.checked_add(count.checked_sub(1)?)?);
    let is_last = |read: &Read| {
        read.table == first.table
            && read.column_of(last) == Some(usize::from(first_column) + usize::from(count) - 1)
    };
    if !reads.iter().any(is_last) {
        return None;
    }
    let PlausibleRange { min, max } = point.limits(rated_w);
    Some(Point {
        name: point.name.clone(),
        unit: point.unit,
        kind,
        word_order: if kind == Kind::Text { Default::default() } else { word_order },
        first_column,
        column_count: u8::try_from(count).ok()?,
        scale_column,
        multiplier: point.multiplier,
        exponent: point.exponent,
        sentinels: sentinels.clone(),
        min,
        max,
        counter: point.counter,
        labels: point.labels.clone(),
    })
}

fn columns(plan: &Plan) -> Vec<Column> {
    (0u8..)
        .zip(plan.reads())
        .flat_map(|(number, read)| {
            read.columns().map(move |(offset, _)| Column {
                table: read.table,
                address: read.address + offset,
                group: read.group,
                read: number,
            })
        })
        .collect()
}
