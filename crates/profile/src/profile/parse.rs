//! Parses TOML into a profile, collecting all problems.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_config_text::Document;
use ecowatt_model::Unit;
use toml::Value;

use super::{
    Barrier, NamedGroup, PointSpec, Profile, ProfileError, RegisterPlace, SerialFormat, SerialSpec,
    SleepSpec, SleepSpecTest, SunSpecPoint, TransportKind, TransportSpec,
};
use crate::control::{ONE_OF_MAX, Verify, WriteFunction};
use crate::decimal::Scaled;
use crate::layout::{
    CounterKind, EXPONENT_MIN, LABEL_BYTES_MAX, LABELS_MAX, Label, NAME_BYTES_MAX, SENTINELS_MAX,
};
use crate::names;
use crate::number_type::{Kind, Table, WordOrder};
use crate::plan::{GROUPS_MAX, Group, READ_REGISTERS_MAX, SLEEP_CONDITIONS_MAX, SLEEP_WORDS_MAX};
use crate::sunspec;
use crate::toml_reader::{Problems, Section, decimal, not_one_of};
use crate::write_rule::WriteRule;

/// Range of an inverter's rated power, in watts.
pub const RATED_W: core::ops::RangeInclusive<u32> = 50..=10_000_000;

/// The only version of the format.
const SCHEMA: i64 = 1;

const TABLES: &[(&str, Table)] = &[("holding", Table::Holding), ("input", Table::Input)];
const ORDERS: &[(&str, WordOrder)] = &[("big", WordOrder::Big), ("little", WordOrder::Little)];
const COUNTERS: &[(&str, CounterKind)] =
    &[("monotonic", CounterKind::Monotonic), ("daily", CounterKind::Daily)];
const TRANSPORTS: &[(&str, TransportKind)] = &[
    ("tcp", TransportKind::Tcp),
    ("rtu", TransportKind::Rtu),
    ("rtu-over-tcp", TransportKind::RtuOverTcp),
];
const FORMATS: &[(&str, SerialFormat)] = &[
    ("8N1", SerialFormat::NoneOne),
    ("8N2", SerialFormat::NoneTwo),
    ("8E1", SerialFormat::EvenOne),
    ("8O1", SerialFormat::OddOne),
];
const VERIFIES: &[(&str, Verify)] = &[("readback", Verify::Readback), ("echo", Verify::Echo)];

pub(super) fn parse(text: &str) -> Result<Profile, ProfileError> {
    let document = Document::parse(text).map_err(ProfileError::Invalid)?;
    let (table, unread) = document.read::<toml::Table>();
    let Some(table) = table else { return Err(ProfileError::Invalid(unread)) };
    let problems = Problems::of(&document);
    let profile = read_profile(&Section::root(&table, &problems), &problems);
    match (profile, problems.into_vec()) {
        (Some(profile), problems) if problems.is_empty() => Ok(profile),
        (_, problems) => Err(ProfileError::Invalid(problems)),
    }
}

/// Returns `None` only if a problem has been reported.
fn read_profile(root: &Section<'_>, problems: &Problems) -> Option<Profile> {
    let schema: Option<i64> = root.required("schema", root.integer("schema"));
    if schema.is_some_and(|schema| schema != SCHEMA) {
        root.problem("schema", format!("must be {SCHEMA}"));
    }
    let id = root.required("id", root.text("id"));
    let is_id = |id: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        id.len() <= NAME_BYTES_MAX
            && id.split_once('/').is_some_and(|(vendor, model)| {
                [vendor, model].iter().all(|part| !part.is_empty() && part.bytes().all(plain))
            })
    };
    if id.is_some_and(|id| !is_id(id)) {
        let text = format!("must look like vendor/model, at most {NAME_BYTES_MAX} bytes");
        root.problem("id", text);
    }
    let version = root.required("version", root.integer("version"));
    let title = root.required("title", root.text("title"));
    let sources = root.list("sources", "texts", |value| value.as_str().map(str::to_owned));
    let sources = root.required("sources", sources);
    if sources.as_ref().is_some_and(Vec::is_empty) {
        root.problem("sources", "must name at least one document");
    }
    let rated_w = root.integer("rated_w");
    if rated_w.is_some_and(|rated_w| !RATED_W.contains(&rated_w)) {
        root.problem("rated_w", format!("must be {} to {}", RATED_W.start(), RATED_W.end()));
    }
    let transport = root
        .required("transport", root.section("transport"))
        .and_then(|section| read_transport(&section));
    let defaults =
        root.section("defaults").map(|section| read_defaults(&section)).unwrap_or_default();
    let groups =
        root.required("groups", root.section("groups")).map(|section| read_groups(&section));
    let groups = groups.unwrap_or_default();
    let points = root.required("points", root.section("points"));
    let points = points.map(|section| read_points(&section, &defaults, &groups));
    let points = points.unwrap_or_default();
    let sleep = root.section("sleep").map(|section| read_sleep(&section, &points));
    root.finish();
    let registers_max = transport.as_ref().map_or(READ_REGISTERS_MAX, |t| t.registers_max);
    for point in &points {
        let RegisterPlace::Registers { count, kind, .. } = point.place else { continue };
        // Texts may be split over several reads.
        let most = if kind == Kind::Text { READ_REGISTERS_MAX } else { registers_max };
        if count > most {
            problems.add(
                format!("points.\"{}\"", point.name),
                format!("takes {count} registers, more than one read of {most}"),
            );
        }
    }
    Some(Profile {
        id: id?.to_owned(),
        version: version?,
        title: title?.to_owned(),
        sources: sources?,
        rated_w,
        transport: transport?,
        groups,
        points,
        sleep: sleep.unwrap_or_default(),
        headers: vec![],
        out_of_reach: vec![],
    })
}

fn read_transport(section: &Section<'_>) -> Option<TransportSpec> {
    let kinds = section.list("kinds", "texts", Value::as_str);
    let kinds: Vec<TransportKind> = section
        .required("kinds", kinds)?
        .into_iter()
        .filter_map(|kind| {
            let found = TRANSPORTS.iter().find(|(word, _)| *word == kind);
            if found.is_none() {
                section.problem("kinds", not_one_of(kind, TRANSPORTS));
            }
            found.map(|(_, kind)| *kind)
        })
        .collect();
    // A missing value below returns only at the end, so that the other problems are still found.
    let unit = section.required("unit", section.integer("unit"));
    let serial = section.section("serial").and_then(|serial| {
        let baud = serial.required("baud", serial.integer("baud"));
        let format = serial.required("format", serial.word("format", FORMATS));
        serial.finish();
        Some(SerialSpec { baud: baud?, format: format? })
    });
    if kinds.contains(&TransportKind::Rtu) && !section.has("serial") {
        section.problem("serial", "is missing, since rtu is among the kinds");
    }
    let millis = |key| section.integer::<u32>(key).map(|ms| Duration::from_millis(ms.into()));
    let timeout = section.required("timeout_ms", millis("timeout_ms"));
    let min_gap = millis("min_gap_ms").unwrap_or_default();
    let connect_delay = millis("connect_delay_ms").unwrap_or_default();
    let registers_max = section.integer("registers_max").unwrap_or(READ_REGISTERS_MAX);
    if !(1..=READ_REGISTERS_MAX).contains(&registers_max) {
        section.problem("registers_max", format!("must be 1 to {READ_REGISTERS_MAX}"));
    }
    let hole_max = section.integer("hole_max");
    let barriers =
        section.list("barriers", "tables such as { table = \"input\", address = 7 }", |item| {
            let item = item.as_table().filter(|item| item.len() == 2)?;
            let table = item.get("table")?.as_str()?;
            let table = TABLES.iter().find(|(word, _)| *word == table)?.1;
            let address = u16::try_from(item.get("address")?.as_integer()?).ok()?;
            Some(Barrier { table, address })
        });
    section.finish();
    Some(TransportSpec {
        kinds,
        unit: unit?,
        serial,
        timeout: timeout?,
        min_gap,
        connect_delay,
        registers_max,
        hole_max,
        barriers: barriers.unwrap_or_default(),
    })
}

/// Defaults for the fields of a point.
#[derive(Default)]
struct Defaults {
    table: Option<Table>,
    kind: Option<Kind>,
    word_order: WordOrder,
    sentinels: Vec<(Kind, Vec<u64>)>,
    doc_offset: Option<i32>,
}

fn read_defaults(section: &Section<'_>) -> Defaults {
    let mut defaults = Defaults {
        table: section.word("table", TABLES),
        kind: section.word("type", &kinds()),
        word_order: section.word("word_order", ORDERS).unwrap_or_default(),
        sentinels: vec![],
        doc_offset: section.integer("doc_offset"),
    };
    if let Some(sentinels) = section.section("sentinels") {
        for (word, kind) in kinds() {
            if let Some(patterns) = read_sentinels(&sentinels, word) {
                defaults.sentinels.push((kind, patterns));
            }
        }
        sentinels.finish();
    }
    section.finish();
    defaults
}

fn read_sentinels(section: &Section<'_>, key: &str) -> Option<Vec<u64>> {
    let patterns = section.list(key, "bit patterns from 0", |value| {
        value.as_integer().and_then(|pattern| u64::try_from(pattern).ok())
    })?;
    if patterns.len() > SENTINELS_MAX {
        section.problem(key, format!("has more than {SENTINELS_MAX} patterns"));
    }
    Some(patterns)
}

fn kinds() -> [(&'static str, Kind); Kind::ALL.len()] {
    Kind::ALL.map(|kind| (kind.as_str(), kind))
}

fn read_groups(section: &Section<'_>) -> Vec<NamedGroup> {
    let mut groups = vec![];
    for name in section.keys() {
        let Some(group) = section.section(name) else { continue };
        let every = group.required("every_s", group.decimal("every_s"));
        let every_ms =
            every.and_then(|every| every.rescale(-3)).and_then(|ms| u32::try_from(ms).ok());
        if every.is_some() && every_ms.is_none() {
            group.problem("every_s", "must be seconds from 0 with at most three decimal places");
        }
        group.finish();
        let group = Group { every_ms: every_ms.unwrap_or_default() };
        groups.push(NamedGroup { name: name.to_owned(), group });
    }
    if groups.is_empty() || groups.len() > GROUPS_MAX {
        section.problem("*", format!("must be 1 to {GROUPS_MAX}"));
    }
    section.finish();
    groups
}

fn read_points(
    section: &Section<'_>,
    defaults: &Defaults,
    groups: &[NamedGroup],
) -> Vec<PointSpec> {
    let mut points = vec![];
    for name in section.keys() {
        let is_repeating = name.contains("{n}");
        if name.len() > NAME_BYTES_MAX || !names::is_allowed(&name.replace("{n}", "1")) {
            section.problem(name, "is neither a canonical name nor one under x.");
        }
        let Some(entry) = section.section(name) else { continue };
        let point = read_point(name, &entry, defaults, groups);
        if is_repeating && !entry.has("sunspec") {
            section.problem(name, "can only repeat with sunspec");
        }
        entry.finish();
        points.extend(point);
    }
    if section.keys().next().is_none() {
        section.problem("*", "must be at least one");
    }
    points
}

fn read_point(
    name: &str,
    entry: &Section<'_>,
    defaults: &Defaults,
    groups: &[NamedGroup],
) -> Option<PointSpec> {
    let unit = match entry.text("unit") {
        None => Unit::None,
        Some(symbol) => symbol.parse().unwrap_or_else(|_| {
            entry.problem("unit", format!("is {symbol:?}, which is not a known unit"));
            Unit::None
        }),
    };
    let group = entry.required("group", entry.text("group")).and_then(|group| {
        let found = groups.iter().position(|known| known.name == group);
        if found.is_none() {
            entry.problem("group", format!("is {group:?}, which is not in groups"));
        }
        found
    });
    let place = if entry.has("sunspec") {
        read_sunspec(name, entry).map(RegisterPlace::SunSpec)
    } else {
        read_registers(entry, defaults)
    };
    let (multiplier, exponent) = read_scale(entry, place.as_ref()).unwrap_or((1, 0));
    let bound = |key: &str| {
        // Bounds are stored in the point's own units, so that readings compare as integers.
        let bound = entry.decimal(key)?;
        let fitting = bound.rescale(exponent);
        if fitting.is_none() {
            entry.problem(key, format!("has more decimal places than the point ({})", -exponent));
        }
        fitting
    };
    let (min, max) = (bound("min"), bound("max"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        entry.problem("min", "is above max");
    }
    let (min_rated, max_rated) = (entry.decimal("min_rated"), entry.decimal("max_rated"));
    let counter = entry.word("counter", COUNTERS);
    let labels = entry.section("labels").map(|section| read_labels(&section)).unwrap_or_default();
    let write = entry
        .section("write")
        .and_then(|section| read_write(&section, place.as_ref(), multiplier, exponent));
    Some(PointSpec {
        name: name.to_owned(),
        unit,
        place: place?,
        multiplier,
        exponent,
        min,
        max,
        min_rated,
        max_rated,
        counter,
        group: group?,
        labels,
        write,
    })
}

fn read_registers(entry: &Section<'_>, defaults: &Defaults) -> Option<RegisterPlace> {
    let table = entry.word("table", TABLES).or(defaults.table);
    if table.is_none() && !entry.has("table") {
        entry.problem("table", "is missing, and defaults has none");
    }
    let kind = entry.word("type", &kinds()).or(defaults.kind);
    if kind.is_none() && !entry.has("type") {
        entry.problem("type", "is missing, and defaults has none");
    }
    let word_order = entry.word("word_order", ORDERS).unwrap_or(defaults.word_order);
    // Manuals may number registers from 1 or from 40001; `doc_offset` converts to addresses.
    let direct: Option<u16> = entry.integer("address");
    let documented: Option<u16> = entry.integer("doc_address");
    let address = match (direct, documented) {
        (Some(_), Some(_)) => {
            entry.problem("doc_address", "excludes address");
            None
        }
        (Some(address), None) => Some(address),
        (None, Some(documented)) => {
            let offset = defaults.doc_offset.unwrap_or_else(|| {
                entry.problem("doc_address", "needs doc_offset in defaults");
                0
            });
            let address = u16::try_from(i32::from(documented) + offset.clamp(-65_536, 65_536)).ok();
            if address.is_none() {
                entry.problem("doc_address", "plus doc_offset is not an address");
            }
            address
        }
        (None, None) => {
            if !entry.has("address") && !entry.has("doc_address") {
                entry.problem("address", "is missing (or doc_address, or sunspec)");
            }
            None
        }
    };
    let length: Option<u16> = entry.integer("length");
    let count = match kind.map(Kind::registers) {
        Some(Some(count)) => {
            if length.is_some() {
                entry.problem("length", "is for text only");
            }
            u16::from(count)
        }
        Some(None) => entry.required("length", length).unwrap_or(1),
        None => 1,
    };
    if count == 0 || address.is_some_and(|address| address.checked_add(count - 1).is_none()) {
        entry.problem("address", "and length leave the address space");
    }
    let sentinels = read_sentinels(entry, "sentinels").unwrap_or_else(|| {
        let default = defaults.sentinels.iter().find(|(of, _)| Some(*of) == kind);
        default.map(|(_, patterns)| patterns.clone()).unwrap_or_default()
    });
    Some(RegisterPlace::Registers {
        table: table?,
        address: address?,
        count,
        kind: kind?,
        word_order,
        sentinels,
        scale_address: None,
    })
}

fn read_sunspec(name: &str, entry: &Section<'_>) -> Option<Vec<SunSpecPoint>> {
    let candidates = entry.list("sunspec", "texts such as 103:W", |value| {
        let (model, point) = value.as_str()?.split_once(':')?;
        Some(SunSpecPoint { model: model.parse().ok()?, point: point.to_owned() })
    })?;
    if candidates.is_empty() {
        entry.problem("sunspec", "must name at least one point");
    }
    for SunSpecPoint { model, point } in &candidates {
        let found = sunspec::Model::find(*model).and_then(|table| {
            if name.contains("{n}") { table.module_point(point) } else { table.point(point) }
        });
        if found.is_none() {
            entry.problem("sunspec", format!("names {model}:{point}, which is not known"));
        }
    }
    for key in ["address", "doc_address", "table", "type", "word_order", "sentinels", "length"] {
        if entry.has(key) {
            entry.problem(key, "comes from the SunSpec model");
        }
    }
    Some(candidates)
}

/// Returns the value of one count: multiplier and exponent.
///
/// Integers have `scale`, whose decimal places become the point's. Floats and SunSpec points carry
/// their own scale; `decimals` sets how many places of it are kept.
fn read_scale(entry: &Section<'_>, place: Option<&RegisterPlace>) -> Option<(i64, i8)> {
    let scale = entry.decimal("scale");
    let decimals: Option<i8> = entry.integer("decimals");
    let brings_its_own = matches!(
        place,
        Some(RegisterPlace::SunSpec(_) | RegisterPlace::Registers { kind: Kind::F32, .. })
    );
    if brings_its_own {
        if entry.has("scale") {
            entry.problem("scale", "comes with the value; use decimals");
        }
        let places = decimals.unwrap_or(0);
        if !(0..=-EXPONENT_MIN).contains(&places) {
            entry.problem("decimals", format!("must be 0 to {}", -EXPONENT_MIN));
            return None;
        }
        return Some((1, -places));
    }
    if entry.has("decimals") {
        entry.problem("decimals", "is for floats and SunSpec points; use scale");
    }
    let Some(scale) = scale else { return Some((1, 0)) };
    if scale.mantissa < 1 || scale.exponent < EXPONENT_MIN {
        let text = format!("must be positive with at most {} decimal places", -EXPONENT_MIN);
        entry.problem("scale", text);
        return None;
    }
    Some((scale.mantissa, scale.exponent))
}

fn read_labels(section: &Section<'_>) -> Vec<Label> {
    let mut labels = vec![];
    for key in section.keys() {
        let code = match key.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => key.parse(),
        };
        let text = section.text(key).unwrap_or_default();
        if section.has(key) && !(1..=LABEL_BYTES_MAX).contains(&text.len()) {
            section.problem(key, format!("must be a name of 1 to {LABEL_BYTES_MAX} bytes"));
        }
        match code {
            Ok(code) => labels.push(Label { code, text: text.to_owned() }),
            Err(_) => section.problem(key, "must be a number"),
        }
    }
    if labels.len() > LABELS_MAX {
        section.problem("*", format!("must be at most {LABELS_MAX}"));
    }
    labels.sort();
    section.finish();
    labels
}

fn read_write(
    section: &Section<'_>,
    place: Option<&RegisterPlace>,
    multiplier: i64,
    exponent: i8,
) -> Option<WriteRule> {
    // Values between two counts of the register cannot be written.
    let whole = |key: &str, value: Scaled| {
        let fitting = value.rescale(exponent).filter(|units| units % multiplier == 0);
        if fitting.is_none() {
            section.problem(key, "is finer than the register");
        }
        fitting
    };
    let bound = |key: &str| section.decimal(key).and_then(|value| whole(key, value));
    let (min, max, step) = (bound("min"), bound("max"), bound("step"));
    let one_of = section.list("one_of", "numbers", decimal).map(|values| {
        values.into_iter().filter_map(|value| whole("one_of", value)).collect::<Vec<_>>()
    });
    if one_of.as_ref().is_some_and(|values| values.len() > ONE_OF_MAX) {
        section.problem("one_of", format!("has more than {ONE_OF_MAX} values"));
    }
    let function = section.integer::<u8>("function").map_or(Some(WriteFunction::Single), |code| {
        let function = match code {
            6 => Some(WriteFunction::Single),
            16 => Some(WriteFunction::Multiple),
            _ => None,
        };
        if function.is_none() {
            section.problem("function", "must be 6 or 16");
        }
        function
    });
    let verify = section.word("verify", VERIFIES).unwrap_or(Verify::Readback);
    let is_volatile = section.boolean("volatile");
    let is_bounded = match (min, max) {
        (Some(min), Some(max)) if min > max => {
            section.problem("min", "is above max");
            false
        }
        (Some(_), Some(_)) => true,
        _ => false,
    };
    // A write without a bound is refused: the profile decides what is safe.
    if !is_bounded && one_of.is_none() && !section.has("one_of") {
        section.problem("min", "and max, or one_of, must limit what is written");
    }
    if step.is_some_and(|step| step < 1) {
        section.problem("step", "must be positive");
    }
    match place {
        Some(RegisterPlace::Registers { count, kind, .. }) => {
            if matches!(kind, Kind::Text | Kind::F32) {
                section.problem("*", "is for integers only");
            } else if *count > 1 && function == Some(WriteFunction::Single) {
                section.problem("function", "must be 16, since the point has several registers");
            }
        }
        // The device knows the other registers of these models that belong to a limit.
        Some(RegisterPlace::SunSpec(candidates)) => {
            let is_limit =
                |c: &SunSpecPoint| matches!(c.model, 123 | 704) && c.point == "WMaxLimPct";
            if !candidates.iter().all(is_limit) {
                section.problem(
                    "*",
                    "is for 123:WMaxLimPct and 704:WMaxLimPct, no other SunSpec point",
                );
            }
        }
        None => {}
    }
    section.finish();
    Some(WriteRule {
        function: function?,
        min,
        max,
        step,
        one_of: one_of.unwrap_or_default(),
        is_volatile: is_volatile.unwrap_or(false),
        verify,
    })
}

fn read_sleep(section: &Section<'_>, points: &[PointSpec]) -> Vec<SleepSpec> {
    let mut rules = vec![];
    let find = |of: &Section<'_>, name: &str| {
        let point = points.iter().find(|point| point.name == name);
        if point.is_none() {
            of.problem(name, "is not a valid point of this profile");
        }
        point
    };
    if let Some(below) = section.section("below") {
        for name in below.keys() {
            let limit = below.decimal(name);
            let Some(point) = find(&below, name) else { continue };
            if let RegisterPlace::Registers { kind, .. } = point.place
                // The device compares one raw word, so the point must be a single register.
                && !matches!(kind, Kind::U16 | Kind::I16)
            {
                below.problem(name, "must be of type u16 or i16");
            }
            let Some(limit) = limit else { continue };
            match limit.rescale(point.exponent).filter(|units| units % point.multiplier == 0) {
                Some(units) => {
                    let test = SleepSpecTest::Below(units);
                    rules.push(SleepSpec { point: name.to_owned(), test });
                }
                None => below.problem(name, "is finer than the point"),
            }
        }
        below.finish();
    }
    if let Some(one_of) = section.section("one_of") {
        for name in one_of.keys() {
            let states = one_of.list(name, "words or labels", |value| match value {
                Value::String(label) => Some(Err(label.clone())),
                value => Some(Ok(value.as_integer().and_then(|word| u16::try_from(word).ok())?)),
            });
            let Some(point) = find(&one_of, name) else { continue };
            if let RegisterPlace::Registers { count: 2.., .. } = point.place {
                one_of.problem(name, "must have one register");
            }
            let Some(states) = states else { continue };
            if !(1..=SLEEP_WORDS_MAX).contains(&states.len()) {
                one_of.problem(name, format!("must list 1 to {SLEEP_WORDS_MAX} words or labels"));
                continue;
            }
            let words: Vec<u16> = states.iter().filter_map(|state| state.clone().ok()).collect();
            let labels: Vec<String> = states.into_iter().filter_map(Result::err).collect();
            let test = match (words.is_empty(), labels.is_empty()) {
                (false, true) => SleepSpecTest::OneOf(words),
                (true, false) => {
                    for label in labels.iter().filter(|label| !has_label(point, label)) {
                        one_of.problem(name, format!("names {label:?}, not one of its labels"));
                    }
                    SleepSpecTest::Labelled(labels)
                }
                (_, _) => {
                    one_of.problem(name, "must list either words or labels");
                    continue;
                }
            };
            rules.push(SleepSpec { point: name.to_owned(), test });
        }
        one_of.finish();
    }
    if rules.len() > SLEEP_CONDITIONS_MAX {
        section.problem("*", format!("must be at most {SLEEP_CONDITIONS_MAX} conditions"));
    }
    section.finish();
    rules
}

/// Whether the point has a state with this label, in the profile or in all of its SunSpec
/// candidates.
fn has_label(point: &PointSpec, label: &str) -> bool {
    if !point.labels.is_empty() {
        return point.labels.iter().any(|known| known.text == label);
    }
    let RegisterPlace::SunSpec(candidates) = &point.place else { return false };
    candidates.iter().all(|candidate| {
        let spec =
            sunspec::Model::find(candidate.model).and_then(|model| model.point(&candidate.point));
        spec.is_some_and(|spec| spec.labels.iter().any(|(_, known)| *known == label))
    })
}
