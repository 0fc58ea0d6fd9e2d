//! What is plausible: limits by rated power, and answers that are no measurements.

use ecowatt_model::{Mark, Quality, Unit};
use ecowatt_profile::sunspec::Found;
use ecowatt_profile::{Layout, Profile, Transport, catalogue};

const MODELS: [Found; 4] = [
    Found { id: 1, address: 40_002, length: 66 },
    Found { id: 103, address: 40_070, length: 50 },
    Found { id: 120, address: 40_122, length: 26 },
    Found { id: 160, address: 40_150, length: 48 },
];

fn all(rated_w: Option<u32>) -> Vec<Layout> {
    let layout = |id: &str| {
        let profile = catalogue::find(id).unwrap();
        let profile =
            if profile.needs_discovery() { profile.resolve(&MODELS).unwrap() } else { profile };
        let profile = rated_w.map_or(profile.clone(), |rated_w| profile.rated(rated_w));
        profile.compile(Transport::TCP).unwrap().layout
    };
    catalogue::list().iter().map(|entry| layout(entry.id)).collect()
}

/// Words under which points read what the test says and everything else is zero.
fn words(layout: &Layout, set: &[(&str, &[u16])]) -> Vec<u16> {
    let mut words = vec![0; layout.columns().len()];
    for (name, own) in set {
        let first = usize::from(layout.points()[layout.find(name).unwrap()].first_column);
        words[first..first + own.len()].copy_from_slice(own);
    }
    words
}

fn reading(layout: &Layout, name: &str, own: &[u16]) -> (Quality, Option<i64>) {
    // Not alone in its frame.
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
fn rated_power_says_what_is_plausible() {
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

#[test]
fn whole_answers_of_one_filler_are_no_measurements() {
    for layout in all(Some(5_000)).iter().chain(&all(None)) {
        let count = layout.columns().len();
        for filler in [0xFFFF, 0x8000] {
            let (words, marks) = (vec![filler; count], vec![Mark::Read; count]);
            for reading in layout.decode(&words, &marks) {
                let point = &layout.points()[reading.point];
                // A short read has nothing but its own limits to be judged by.
                let is_alone = layout.profile() == "sungrow/sg-string"
                    && (point.name.starts_with("control.") || point.name == "temp.internal");
                let detail = (layout.profile(), &point.name, filler, reading);
                assert!(reading.quality != Quality::Good || is_alone, "{detail:?}");
                assert_eq!(reading, layout.reading(reading.point, &words, &marks));
            }
        }
        // All zero: a frequency of zero says that nothing was measured; without one it may be so.
        let (words, marks) = (vec![0; count], vec![Mark::Read; count]);
        let voltage = layout.reading(layout.find("ac.l1.voltage").unwrap(), &words, &marks);
        assert_ne!(voltage.quality, Quality::Good, "{}", layout.profile());
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
    assert!(Profile::parse(&bad).unwrap_err().to_string().contains("rated_w must be 50 to"));
}
