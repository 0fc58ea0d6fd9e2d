//! Profile to plan and layout: which reads cover the points at the least cost.
//!
//! Registers of one point (a number of several words, a SunSpec value and its scale factor) are one
//! *span* that is never torn over two reads. Spans of a group are joined over holes that are
//! cheaper to read than to ask twice. A slower group's span that lies within a faster group's read
//! is taken from there for free.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::kind::{Kind, Table};
use crate::layout::{Column, Layout, LayoutError, Point};
use crate::plan::{
    Group, Plan, PlanError, Read, SleepCondition, SleepRule, SleepScale, SleepTest, Transport,
    low_bits,
};
use crate::profile::{Place, PointSpec, Profile, SleepSpecTest};

use alloc::string::String;

/// What a profile becomes for one inverter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// What to read.
    pub plan: Plan,
    /// What it means.
    pub layout: Layout,
}

/// Why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// SunSpec points have no addresses yet; see [`Profile::resolve`].
    #[error("point {0} has no address before the device's models are known")]
    Unresolved(String),
    /// The point's registers cannot come in one read.
    #[error("the registers of point {0} do not fit one read")]
    Torn(String),
    /// The plan would be too large.
    #[error("too much to read")]
    Plan(#[from] PlanError),
    /// The layout would be too large.
    #[error("too much to describe")]
    Layout(#[from] LayoutError),
}

/// The registers of one point.
#[derive(Debug, Clone)]
struct Span {
    point: usize,
    group: usize,
    table: Table,
    /// From the first to after the last, in `u32` because the last may be 65,535.
    range: Range<u32>,
}

/// A read while it grows.
#[derive(Debug)]
struct Draft {
    group: usize,
    table: Table,
    range: Range<u32>,
    spans: Vec<Span>,
}

impl Profile {
    /// The plan and layout for an inverter behind this kind of link.
    ///
    /// # Errors
    /// When the profile is not resolved or asks for too much.
    pub fn compile(&self, transport: Transport) -> Result<Compiled, CompileError> {
        let spans = self.spans()?;
        let drafts = self.draft(&spans, transport);
        let reads: Vec<Read> = drafts.iter().map(|draft| draft.read(&self.points)).collect();
        let groups: Vec<Group> = self.groups.iter().map(|(_, group)| *group).collect();
        // Sleep conditions name columns, which the plan without them has numbered.
        let numbered = Plan::new(&groups, &reads, None)?;
        let read_of = |point: usize| {
            let at = drafts.iter().position(|d| d.spans.iter().any(|span| span.point == point));
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
            // A rule with a part missing would call a working inverter asleep.
            Some(_) | None => None,
        };
        let plan = Plan::new(&groups, &reads, sleep)?;
        let points = self
            .points
            .iter()
            .enumerate()
            .map(|(index, point)| {
                read_of(index)
                    .and_then(|read| layout_point(point, read))
                    .ok_or_else(|| CompileError::Torn(point.name.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let every: Vec<u32> = groups.iter().map(|group| group.every_ms).collect();
        let layout = Layout::new(&self.id, self.version, &every, &columns(&plan), points)?;
        Ok(Compiled { plan, layout })
    }

    fn spans(&self) -> Result<Vec<Span>, CompileError> {
        let mut spans = vec![];
        for (index, point) in self.points.iter().enumerate() {
            let Place::Registers { table, address, count, scale_address, .. } = point.place else {
                return Err(CompileError::Unresolved(point.name.clone()));
            };
            let scale = scale_address.map(u32::from);
            let start = u32::from(address);
            let end = start + u32::from(count);
            let range = scale.map_or(start, |scale| scale.min(start))
                ..scale.map_or(end, |scale| end.max(scale + 1));
            let span = Span { point: index, group: point.group, table, range };
            let is_too_long = span.len() > u32::from(self.transport.registers_max);
            if is_too_long || self.has_barrier(table, &span.range) {
                return Err(CompileError::Torn(point.name.clone()));
            }
            spans.push(span);
        }
        Ok(spans)
    }

    fn has_barrier(&self, table: Table, registers: &Range<u32>) -> bool {
        self.transport
            .barriers
            .iter()
            .any(|&(of, address)| of == table && registers.contains(&u32::from(address)))
    }

    fn draft(&self, spans: &[Span], transport: Transport) -> Vec<Draft> {
        let hole_max = u32::from(self.transport.hole_max.unwrap_or_else(|| transport.hole_max()));
        let mut by_speed: Vec<usize> = (0..self.groups.len()).collect();
        // Once per connection is the slowest.
        by_speed.sort_by_key(|&group| self.groups[group].1.every_ms.wrapping_sub(1));
        let mut drafts: Vec<Draft> = vec![];
        for group in by_speed {
            let mut own: Vec<&Span> = spans.iter().filter(|span| span.group == group).collect();
            own.retain(|span| {
                let host = drafts.iter_mut().find(|draft| draft.covers(span));
                host.map(|draft| draft.spans.push((*span).clone())).is_none()
            });
            own.sort_by_key(|span| (span.table, span.range.start, span.range.end));
            let first_own = drafts.len();
            for span in own {
                let current = drafts[first_own..].last_mut();
                match current.filter(|draft| self.may_join(draft, span, hole_max)) {
                    Some(draft) => {
                        draft.range.end = draft.range.end.max(span.range.end);
                        draft.spans.push(span.clone());
                    }
                    None => drafts.push(Draft {
                        group,
                        table: span.table,
                        range: span.range.clone(),
                        spans: vec![span.clone()],
                    }),
                }
            }
        }
        drafts
    }

    fn may_join(&self, draft: &Draft, span: &Span, hole_max: u32) -> bool {
        let joined = draft.range.start..draft.range.end.max(span.range.end);
        draft.table == span.table
            && joined.end - joined.start <= u32::from(self.transport.registers_max)
            && span.range.start.saturating_sub(draft.range.end) <= hole_max
            && !self.has_barrier(draft.table, &joined)
    }
}

impl Span {
    const fn len(&self) -> u32 {
        self.range.end - self.range.start
    }
}

impl Draft {
    fn covers(&self, span: &Span) -> bool {
        self.table == span.table
            && self.range.start <= span.range.start
            && span.range.end <= self.range.end
    }

    fn read(&self, points: &[PointSpec]) -> Read {
        // A span fits one read, and so does what is joined: everything here is at most 125.
        let offset = |register: u32| {
            u16::try_from(register.saturating_sub(self.range.start)).unwrap_or(u16::MAX)
        };
        let bits = |from: u32, to: u32| low_bits(offset(to)) & !low_bits(offset(from));
        let (mut wanted, mut torn) = (0, 0);
        for span in &self.spans {
            if let Place::Registers { address, count, scale_address, .. } = points[span.point].place
            {
                let start = u32::from(address);
                wanted |= bits(start, start + u32::from(count));
                if let Some(scale) = scale_address.map(u32::from) {
                    wanted |= bits(scale, scale + 1);
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
    /// The condition on a word, or `None` if the point does not come as one plain word.
    fn compile(&self, point: &PointSpec, read: &Read) -> Option<SleepCondition> {
        let Place::Registers { address, count: 1, kind, scale_address, .. } = point.place else {
            return None;
        };
        let column = |address| read.column_of(address).and_then(|column| u8::try_from(column).ok());
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
            Self::OneOf(list) => {
                let mut words = [0; 4];
                let mut count = 0;
                for (slot, &word) in words.iter_mut().zip(list) {
                    *slot = word;
                    count += 1;
                }
                SleepTest::OneOf { words, count }
            }
        };
        Some(SleepCondition { column: column(address)?, test })
    }
}

fn layout_point(point: &PointSpec, read: &Read) -> Option<Point> {
    let Place::Registers { address, count, kind, word_order, ref sentinels, scale_address, .. } =
        point.place
    else {
        return None;
    };
    let column = |address| read.column_of(address).and_then(|column| u8::try_from(column).ok());
    let scale_column = match scale_address {
        Some(address) => Some(column(address)?),
        None => None,
    };
    Some(Point {
        name: point.name.clone(),
        unit: point.unit,
        kind,
        word_order: if kind == Kind::Text { Default::default() } else { word_order },
        first_column: column(address)?,
        column_count: u8::try_from(count).ok()?,
        scale_column,
        multiplier: point.multiplier,
        exponent: point.exponent,
        sentinels: sentinels.clone(),
        min: point.min,
        max: point.max,
        counter: point.counter,
        labels: point.labels.clone(),
    })
}

fn columns(plan: &Plan) -> Vec<Column> {
    plan.reads()
        .iter()
        .flat_map(|read| {
            read.columns().map(|(offset, _)| Column {
                table: read.table,
                address: read.address + offset,
                group: read.group,
            })
        })
        .collect()
}
