//! Plausibility: limits by rated power, and answers that are not measurements.

use std::time::Duration;

use ecowatt_model::{Mark, Quality, Unit};
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Kind, Layout, Point, Profile, Reading, Transport, WordOrder, catalogue};

const MODELS: [FoundModel; 4] = [
    FoundModel { id: 1, address: 40_002, length: 66 },
    FoundModel { id: 103, address: 40_070, length: 50 },
    FoundModel { id: 120, address: 40_122, length: 26 },
    FoundModel { id: 160, address: 40_150, length: 48 },
];

fn all(rated_w: Option<u32>) -> Vec<Layout> {
    all_over(Transport::TCP, rated_w)
}

/// Every layout of the catalogue, for inverters behind such a link.
fn all_over(transport: Transport, rated_w: Option<u32>) -> Vec<Layout> {
    let layout = |id: &str| {
        let profile = catalogue::find(id).unwrap();
        let profile =
            if profile.needs_discovery() { profile.resolve(&MODELS).unwrap() } else { profile };
        let profile = rated_w.map_or(profile.clone(), |rated_w| profile.rated(rated_w));
        profile.compile(transport).unwrap().layout
    };
    catalogue::list().iter().map(|entry| layout(entry.id)).collect()
}

/// Words for which the given points have the given words and everything else is zero.
fn words(layout: &Layout, set: &[(&str, &[u16])]) -> Vec<u16> {
    let mut words = vec![0; layout.columns().len()];
    for (name, own) in set {
        let first = usize::from(layout.points()[layout.find(name).unwrap()].first_column);
        words[first..first + own.len()].copy_from_slice(own);
    }
    words
}

fn reading(layout: &Layout, name: &str, own: &[u16]) -> (Quality, Option<i64>) {
    // Not alone in its read.
    let mut words = words(layout, &[(name, own)]);
    let point = layout.find(name).unwrap();
    let first = usize::from(layout.points()[point].first_column);
    for (column, word) in words.iter_mut().enumerate() {
        if !(first..first + own.len()).contains(&column) {
            *word = if layout.points()[point].scale_column == u8::try_from(column).ok() {
                0
            } else {
                7
            };
        }
    }
    let reading = layout.reading(point, &words, &vec![Mark::Read; words.len()]);
    (reading.quality, reading.value)
}

#[test]
fn every_measurement_has_limits() {
    for layout in all(Some(5_000)).iter().chain(&all(None)) {
        for point in layout.points() {
            let is_measured = matches!(
                point.unit,
                Unit::Watt
                    | Unit::Volt
                    | Unit::Ampere
                    | Unit::Hertz
                    | Unit::Celsius
                    | Unit::WattHour
            );
            if is_measured && !point.name.starts_with("x.") {
                let (profile, name) = (layout.profile(), &point.name);
                assert!(point.min.is_some() && point.max.is_some(), "{profile} {name}");
            }
        }
        assert!(layout.rated_w().is_some(), "{}", layout.profile());
        assert_eq!(Layout::from_cbor(&layout.to_cbor()).as_ref(), Ok(layout));
    }
}

#[test]
fn rated_power_sets_the_limits() {
    for layout in all(Some(5_000)) {
        let profile = layout.profile().to_owned();
        let power = layout.find("ac.power").unwrap();
        assert_eq!(layout.rated_w(), Some(5_000));
        assert_eq!(layout.points()[power].max, Some(7_500), "{profile}");
        let out = |name, own: &[u16]| {
            let (quality, _) = reading(&layout, name, own);
            assert_eq!(quality, Quality::OutOfRange, "{profile} {name} {own:?}");
        };
        match profile.as_str() {
            "huawei/sun2000" => {
                out("ac.power", &[0x8000, 0]);
                out("ac.power", &[0x0001, 0x2000]);
                out("ac.energy.day", &[0xFFFF, 0xFFF8]);
                out("ac.energy.total", &[0xFFFF, 0xFFF8]);
                out("ac.energy.total", &[0x0FFF, 0]);
                assert_eq!(reading(&layout, "ac.power", &[0, 7_400]).0, Quality::Good);
                assert_eq!(reading(&layout, "ac.power", &[0xFFFF, 0xFFFF]).1, Some(-1));
            }
            "sungrow/sg-string" => {
                out("ac.power", &[0, 0x8000]);
                out("ac.energy.day", &[0xFFFE]);
                out("ac.energy.total", &[0xFFF8, 0xFFFF]);
                assert_eq!(reading(&layout, "ac.power", &[5_100, 0]).0, Quality::Good);
            }
            "sunspec/generic-pv" => {
                out("ac.power", &[0x8001]);
                out("ac.power", &[8_545]);
                assert_eq!(reading(&layout, "ac.power", &[5_100]), (Quality::Good, Some(5_100)));
                let none = (Quality::NotImplemented, None);
                assert_eq!(reading(&layout, "ac.energy.total", &[0xFFFF, 0xFFFF]), none);
                assert_eq!(reading(&layout, "ac.energy.total", &[0, 0]), none);
                out("ac.energy.total", &[0xFFFF, 0xFFFE]);
            }
            _ => out("ac.power", &[7_501]),
        }
    }
}

/// Answers of inverters that are not measuring.
const FILLERS: [u16; 4] = [0xFFFF, 0x8000, 0x7FFF, 0];

/// A link over which reads are shorter than over others.
const TERSE: Transport = Transport { baud: 115_200, turnaround: Duration::ZERO };

fn over_every_link() -> Vec<Layout> {
    let mut layouts = all(Some(5_000));
    layouts.extend(all(None));
    layouts.extend(all_over(Transport::serial(9_600), None));
    layouts.extend(all_over(TERSE, Some(8_000)));
    layouts
}

/// Words of a working inverter: numeric points read ten, a frequency 50 Hz.
fn good_words(layout: &Layout) -> Vec<u16> {
    let mut words = vec![0x4142; layout.columns().len()];
    for point in layout.points().iter().filter(|point| point.kind != Kind::Text) {
        let units = if point.name == "ac.frequency" { 50 } else { 10 };
        let counts = units * 10i64.pow(u32::from(point.exponent.unsigned_abs())) / point.multiplier;
        let first = usize::from(point.first_column);
        let own = &mut words[first..first + usize::from(point.column_count)];
        let low = if point.word_order == WordOrder::Little { 0 } else { own.len() - 1 };
        own.fill(0);
        own[low] = u16::try_from(counts).unwrap().max(1);
        if let Some(scale) = point.scale_column {
            words[usize::from(scale)] = i16::from(point.exponent).cast_unsigned();
        }
    }
    words
}

fn readings(layout: &Layout, words: &[u16], marks: &[Mark]) -> Vec<Reading> {
    let readings: Vec<Reading> = layout.decode(words, marks).collect();
    let alone = |point: usize| layout.reading(point, words, marks);
    assert_eq!(readings, (0..readings.len()).map(alone).collect::<Vec<_>>());
    readings
}

/// Whether a point uses one of these columns.
fn is_in(point: &Point, mut columns: impl FnMut(usize) -> bool) -> bool {
    let first = usize::from(point.first_column);
    let mut own = first..first + usize::from(point.column_count);
    own.any(&mut columns) || point.scale_column.is_some_and(|scale| columns(usize::from(scale)))
}

#[test]
fn answers_of_one_filler_are_not_measurements() {
    for layout in over_every_link() {
        let count = layout.columns().len();
        for filler in FILLERS {
            let (words, marks) = (vec![filler; count], vec![Mark::Read; count]);
            for reading in readings(&layout, &words, &marks) {
                let detail = (layout.profile(), &layout.points()[reading.point], filler, reading);
                assert_ne!(reading.quality, Quality::Good, "{detail:?}");
                assert_eq!(layout.text(reading.point, &words, &marks), None);
            }
        }
    }
}

#[test]
fn filler_in_one_of_several_reads_invalidates_that_read() {
    for layout in over_every_link() {
        let columns = layout.columns();
        let (words, marks) = (good_words(&layout), vec![Mark::Read; columns.len()]);
        let right = readings(&layout, &words, &marks);
        for read in 0..=columns.last().unwrap().read {
            let is_filled = |column: usize| columns[column].read == read;
            let length = (0..columns.len()).filter(|&column| is_filled(column)).count();
            for filler in [0xFFFF, 0x8000, 0x7FFF] {
                let mut words = words.clone();
                (0..words.len()).filter(|&at| is_filled(at)).for_each(|at| words[at] = filler);
                for (reading, right) in readings(&layout, &words, &marks).iter().zip(&right) {
                    let point = &layout.points()[right.point];
                    let detail = (layout.profile(), point, read, filler, reading);
                    if !is_in(point, is_filled) {
                        assert_eq!(reading, right, "{detail:?}");
                    } else if length >= 4 {
                        assert_ne!(reading.quality, Quality::Good, "{detail:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_wrong_register_spoils_only_its_own_points() {
    for layout in over_every_link() {
        let count = layout.columns().len();
        let (words, marks) = (good_words(&layout), vec![Mark::Read; count]);
        let right = readings(&layout, &words, &marks);
        for wrong in 0..count {
            for filler in FILLERS {
                let mut words = words.clone();
                words[wrong] = filler;
                for (reading, right) in readings(&layout, &words, &marks).iter().zip(&right) {
                    let point = &layout.points()[right.point];
                    if !is_in(point, |column| column == wrong) {
                        let detail = (layout.profile(), point, wrong, filler);
                        assert_eq!(reading, right, "{detail:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_short_answer_is_judged_by_the_rest_of_its_sample() {
    let text = include_str!("../../../../profiles/sungrow-sg-string.toml");
    let text = text.replace("min_gap_ms = 20", "min_gap_ms = 20\nhole_max = 2");
    let layout = &Profile::parse(&text).unwrap().compile(Transport::TCP).unwrap().layout;
    let temperature = layout.find("temp.internal").unwrap();
    let column = usize::from(layout.points()[temperature].first_column);
    let own = |words: &[u16], marks: &[Mark]| readings(layout, words, marks)[temperature].good();
    let in_its_read = layout.columns().iter().filter(|it| it.read == layout.columns()[column].read);
    assert_eq!(in_its_read.count(), 1, "it is read alone");
    let count = layout.columns().len();
    let read = vec![Mark::Read; count];
    let alone = |mark| {
        let mut marks = vec![mark; count];
        marks[column] = Mark::Read;
        marks
    };
    for (filler, value) in [(0xFFFF, -1), (0, 0)] {
        let filled = vec![filler; count];
        let mut beside_good = good_words(layout);
        beside_good[column] = filler;
        assert_eq!(own(&filled, &read), None, "{filler}: filler everywhere");
        assert_eq!(own(&beside_good, &read), Some(value), "{filler}: all else is plausible");
        assert_eq!(own(&filled, &alone(Mark::NotDue)), Some(value), "{filler}: nothing else due");
    }
    // Without other plausible values, ones are not a measurement; zeros may be.
    let filled = vec![0xFFFF; count];
    for mark in [Mark::Timeout, Mark::Exception, Mark::Garbled] {
        assert_eq!(own(&filled, &alone(mark)), None, "{mark:?}");
    }
    // One other filler read is enough, whatever the rest contains and whichever filler it is.
    for (other, filler) in [("ac.power", 0xFFFF), ("pv.1.voltage", 0x8000), ("state", 0x7FFF)] {
        let first = usize::from(layout.points()[layout.find(other).unwrap()].first_column);
        let mut words = good_words(layout);
        words[column] = 0xFFFF;
        let same_read = |at: &usize| layout.columns()[*at].read == layout.columns()[first].read;
        (0..count).filter(same_read).for_each(|at| words[at] = filler);
        assert_eq!(own(&words, &read), None, "{other} {filler:#x}");
    }
}

#[test]
fn fillers_in_part_of_an_answer_are_judged_one_by_one() {
    let layouts = all(Some(5_000));
    let huawei = layouts.iter().find(|layout| layout.profile() == "huawei/sun2000").unwrap();
    let read = |words: &[u16], name: &str| {
        let point = huawei.find(name).unwrap();
        huawei.reading(point, words, &vec![Mark::Read; words.len()])
    };
    let ones: &[u16] = &[0xFFFF, 0xFFFF];
    let some = words(huawei, &[("ac.power", ones), ("temp.internal", &[0xFFFF])]);
    assert_eq!(read(&some, "ac.power").good(), Some(-1));
    assert_eq!(read(&some, "temp.internal").good(), Some(-1));
}

#[test]
fn limits_by_rated_power_need_one() {
    let text = include_str!("../../../../profiles/huawei-sun2000.toml");
    let unknown = Profile::parse(&text.replace("rated_w = 350000\n", "")).unwrap();
    assert_eq!(unknown.rated_w(), None);
    let layout = unknown.compile(Transport::TCP).unwrap().layout;
    let total = &layout.points()[layout.find("ac.energy.total").unwrap()];
    assert_eq!((layout.rated_w(), total.max), (None, Some(40_000_000_000)));
    let bad = text.replace("rated_w = 350000", "rated_w = 20");
    assert!(Profile::parse(&bad).unwrap_err().to_string().contains("rated_w: must be 50 to"));
}
