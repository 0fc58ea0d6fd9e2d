//! One lease over its life, several at once, ramps, and what must hold for any of them.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

const SOURCE: SourceNumber = SourceNumber(0);
/// Seconds from 1970 at which the lease of [`lease`] begins; it lasts an hour.
const FROM: u32 = 1_763_700_000;
const LOST: u64 = 900;

fn lease(id: u32, permille: u16, then: Option<u16>) -> Lease {
    Lease {
        id: LeaseId(id),
        source: None,
        limit: Limit::Permille(permille),
        from_s: FROM,
        to_s: FROM + 3_600,
        ramp_s: 0,
        link_loss_s: 900,
        then: then.map(Limit::Permille),
        priority: 5,
    }
}

/// So many seconds after the beginning, with a confirmed clock and a silence of so many seconds.
fn at(seconds: i64, silence: u64) -> Situation {
    Situation {
        unix: Some(UnixMs((i64::from(FROM) + seconds) * 1_000)),
        is_confirmed: true,
        silence: Duration::from_secs(silence),
        rated_w: Some(5_000),
    }
}

fn unconfirmed(situation: Situation) -> Situation {
    Situation { is_confirmed: false, ..situation }
}

/// The verdict in words, and for how many seconds it is valid.
fn verdict(leases: &[Lease], at: &Situation) -> (std::string::String, Option<u64>) {
    let Evaluation { verdict, valid_for } = evaluate(leases.iter().copied(), SOURCE, at);
    let text = match verdict {
        Verdict::Wait => "wait".into(),
        Verdict::Free => "free".into(),
        Verdict::NoRatedPower(lease) => std::format!("unrated {lease}"),
        Verdict::Limit(InForce { ppm, lease, cause }) => {
            std::format!("{ppm} by {lease} {cause:?}")
        }
    };
    (text, (valid_for < FOR_EVER).then_some(valid_for.as_secs()))
}

#[test]
fn one_lease_over_its_life() {
    let ends = [lease(1, 500, None)];
    let holds = [lease(1, 500, Some(300))];
    let unset = Situation { unix: None, ..unconfirmed(at(0, 5)) };
    let unset_and_lost = Situation { unix: None, ..unconfirmed(at(0, LOST)) };
    let half = "500000 by 1 Lease";
    let cases: [(&[Lease], Situation, &str, Option<u64>); 20] = [
        (&ends, at(-100, 0), "free", Some(100)),
        (&ends, at(0, 0), half, Some(LOST)),
        (&ends, at(3_599, 0), half, Some(1)),
        (&ends, at(3_600, 0), "free", Some(LOST)),
        // Silence changes nothing where nothing is stated.
        (&ends, at(100, LOST), half, Some(3_500)),
        (&ends, at(3_600, LOST), "free", None),
        (&holds, at(100, 899), half, Some(1)),
        (&holds, at(100, LOST), "300000 by 1 Fallback", Some(3_500)),
        (&holds, at(-100, LOST), "free", Some(100)),
        (&holds, at(3_600, 0), "300000 by 1 Afterwards", Some(LOST)),
        (&holds, at(900_000, LOST), "300000 by 1 Afterwards", None),
        // Just started: what the inverter has stays until the server is heard or given up.
        (&ends, unconfirmed(at(100, 2)), "wait", Some(898)),
        (&holds, unconfirmed(at(100, 2)), "wait", Some(898)),
        (&holds, unset, "wait", Some(895)),
        (&holds, unset_and_lost, "300000 by 1 Fallback", None),
        (&ends, unset_and_lost, "500000 by 1 Fallback", None),
        // An estimate of the time counts for what it can: it never raises a limit.
        (&holds, unconfirmed(at(100, LOST)), "300000 by 1 Fallback", Some(3_500)),
        (&ends, unconfirmed(at(100, LOST)), half, Some(3_500)),
        (&ends, unconfirmed(at(3_600, LOST)), "free", None),
        (&holds, unconfirmed(at(-100, LOST)), "300000 by 1 Fallback", Some(100)),
    ];
    for (number, (leases, situation, expected, valid_s)) in cases.into_iter().enumerate() {
        assert_eq!(verdict(leases, &situation), (expected.into(), valid_s), "case {number}");
    }
}

#[test]
fn the_lowest_of_the_leases_of_an_inverter_counts() {
    let elsewhere = Lease { source: Some(SourceNumber(3)), ..lease(9, 0, None) };
    let watts = Lease { limit: Limit::Watts(1_000), ..lease(2, 0, None) };
    let all = [lease(1, 500, None), watts, lease(3, 900, Some(0)), elsewhere];
    assert_eq!(verdict(&all, &at(0, 0)).0, "200000 by 2 Lease");
    let unrated = Situation { rated_w: None, ..at(0, 0) };
    assert_eq!(verdict(&all, &unrated).0, "500000 by 1 Lease");
    assert_eq!(verdict(&[watts], &unrated).0, "unrated 2");
    assert_eq!(verdict(&all, &at(0, LOST)).0, "0 by 3 Fallback");
    // Of equal ones, the more important is named.
    let urgent = Lease { priority: 9, ..lease(4, 500, None) };
    assert_eq!(verdict(&[lease(1, 500, None), urgent], &at(0, 0)).0, "500000 by 4 Lease");
    // One that waits for the server longer does not keep the other from falling back, nor is it
    // overruled by it.
    let patient = Lease { link_loss_s: 3_600, ..lease(5, 100, None) };
    let both = [lease(1, 500, Some(300)), patient];
    assert_eq!(verdict(&both, &unconfirmed(at(0, LOST))).0, "100000 by 5 Fallback");
}

#[test]
fn a_ramp_falls_and_rises_in_steps_within_its_time() {
    let ramp = [Lease { ramp_s: 20, ..lease(1, 200, None) }];
    let ppm = |seconds| verdict(&ramp, &at(seconds, 0)).0;
    assert_eq!(ppm(0), "800000 by 1 Lease");
    assert_eq!(ppm(5), "600000 by 1 Lease");
    assert_eq!(verdict(&ramp, &at(5, 0)).1, Some(5));
    assert_eq!(ppm(14), "400000 by 1 Lease");
    assert_eq!(ppm(15), "200000 by 1 Lease");
    assert_eq!(ppm(3_600), "200000 by 1 Afterwards");
    assert_eq!(ppm(3_605), "400000 by 1 Afterwards");
    assert_eq!(ppm(3_620), "free");
    // Towards a lower limit there is no ramp.
    let lower = [Lease { ramp_s: 20, ..lease(1, 200, Some(100)) }];
    assert_eq!(verdict(&lower, &at(3_600, 0)).0, "100000 by 1 Afterwards");
    let long = [Lease { ramp_s: 3_600, ..lease(1, 0, Some(1_000)) }];
    assert_eq!(verdict(&long, &at(0, 0)), ("900000 by 1 Lease".into(), Some(360)));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let sources = [SOURCE];
    let good = lease(1, 1_000, Some(0));
    let bad = [
        Lease { limit: Limit::Permille(1_001), ..good },
        Lease { limit: Limit::Watts(WATTS_MAX + 1), ..good },
        Lease { limit: Limit::Unknown, ..good },
        Lease { then: Some(Limit::Unknown), ..good },
        Lease { to_s: FROM, ..good },
        Lease { to_s: FROM + LENGTH_MAX_S + 1, ..good },
        Lease { ramp_s: RAMP_MAX_S + 1, ..good },
        Lease { link_loss_s: LINK_LOSS_MIN_S - 1, ..good },
        Lease { link_loss_s: LINK_LOSS_MAX_S + 1, ..good },
    ];
    assert_eq!(check(&good, &sources), Ok(()));
    for lease in bad {
        assert_eq!(check(&lease, &sources), Err(LeaseRefusal::OutOfBounds), "{lease:?}");
    }
    let elsewhere = Lease { source: Some(SourceNumber(1)), ..good };
    assert_eq!(check(&elsewhere, &sources), Err(LeaseRefusal::NoSource));
}

fn limits() -> impl Strategy<Value = Limit> {
    prop_oneof![
        (0..=PERMILLE_FULL).prop_map(Limit::Permille),
        (0..=12_000u32).prop_map(Limit::Watts)
    ]
}

fn leases() -> impl Strategy<Value = Vec<Lease>> {
    let times = (0..5_000u32, 1..5_000u32, 0..600u16, 10..2_000u16);
    let source = prop_oneof![Just(None), Just(Some(SOURCE)), Just(Some(SourceNumber(1)))];
    let one = (limits(), prop::option::of(limits()), times, source, any::<u8>());
    prop::collection::vec(one, 0..=4).prop_map(|all| {
        let lease = |(id, (limit, then, times, source, priority))| {
            let (from, length, ramp_s, link_loss_s) = times;
            let (from_s, to_s) = (FROM + from, FROM + from + length);
            Lease {
                id: LeaseId(id),
                source,
                limit,
                from_s,
                to_s,
                ramp_s,
                link_loss_s,
                then,
                priority,
            }
        };
        (1u32..).zip(all).map(lease).collect()
    })
}

fn situations() -> impl Strategy<Value = Situation> {
    let unix = (-1_000_000..15_000_000i64).prop_map(|ms| UnixMs(i64::from(FROM) * 1_000 + ms));
    let rated = prop_oneof![Just(Some(5_000)), Just(Some(1)), Just(None)];
    (prop::option::of(unix), any::<bool>(), 0..3_000_000u64, rated).prop_map(
        |(unix, is_confirmed, silence, rated_w)| Situation {
            unix,
            is_confirmed: is_confirmed && unix.is_some(),
            silence: Duration::from_millis(silence),
            rated_w,
        },
    )
}

/// The limit of a lease that lasts, past its ramp, by a time that counts.
fn lasting(lease: &Lease, at: &Situation) -> Option<u32> {
    let unix = at.unix.filter(|_| at.is_confirmed)?;
    let begins = i64::from(lease.from_s + u32::from(lease.ramp_s)) * 1_000;
    let ends = i64::from(lease.to_s) * 1_000;
    let is_its = lease.source.is_none_or(|source| source == SOURCE);
    let lasts = (begins..ends).contains(&unix.0);
    if is_its && lasts { part(lease.limit, at.rated_w) } else { None }
}

proptest! {
    /// Whatever the link does, the limit is never above that of the lowest lease that lasts.
    #[test]
    fn never_above_the_lowest_that_lasts(leases in leases(), at in situations()) {
        let lowest = leases.iter().filter_map(|lease| lasting(lease, &at)).min();
        match (evaluate(leases.iter().copied(), SOURCE, &at).verdict, lowest) {
            (_, None) => {}
            (Verdict::Limit(InForce { ppm, .. }), Some(lowest)) => prop_assert!(ppm <= lowest),
            (other, Some(_)) => prop_assert!(false, "{other:?}"),
        }
    }

    /// After a lost link each lease that has begun and states what holds then is followed.
    #[test]
    fn a_lost_link_falls_back(leases in leases(), at in situations()) {
        let begun = |lease: &&Lease| {
            let unix = at.unix.map_or(i64::MAX, |unix| unix.0);
            !at.is_confirmed || i64::from(lease.from_s) * 1_000 <= unix
        };
        let its = |lease: &&Lease| lease.source.is_none_or(|source| source == SOURCE);
        let lost = |lease: &&Lease| at.silence.as_secs() >= lease.link_loss_s.into();
        for lease in leases.iter().filter(its).filter(lost).filter(begun) {
            let then = lease.then.and_then(|then| part(then, at.rated_w));
            // A lease that needs the rated power for one of its limits is not followed without it.
            let (Some(then), Some(_)) = (then, part(lease.limit, at.rated_w)) else { continue };
            match evaluate(leases.iter().copied(), SOURCE, &at).verdict {
                Verdict::Limit(InForce { ppm, .. }) => prop_assert!(ppm <= then),
                other @ (Verdict::Wait | Verdict::Free | Verdict::NoRatedPower(_)) => {
                    prop_assert!(false, "{other:?}");
                }
            }
        }
    }

    /// Nothing changes before the time that the verdict states.
    #[test]
    fn a_verdict_is_valid_for_as_long_as_it_says(leases in leases(), at in situations()) {
        let Evaluation { verdict, valid_for } = evaluate(leases.iter().copied(), SOURCE, &at);
        let later = valid_for.min(Duration::from_secs(100_000)).saturating_sub(Duration::from_millis(1));
        let ms = i64::try_from(later.as_millis()).unwrap();
        let at = Situation {
            unix: at.unix.map(|unix| UnixMs(unix.0 + ms)),
            silence: at.silence + later,
            ..at
        };
        prop_assert_eq!(evaluate(leases.iter().copied(), SOURCE, &at).verdict, verdict);
        prop_assert!(valid_for > Duration::ZERO);
    }

    /// An inverter that no lease is for is never touched, and the order of leases makes no
    /// difference.
    #[test]
    fn others_and_order_make_no_difference(leases in leases(), at in situations()) {
        let one = evaluate(leases.iter().copied(), SOURCE, &at).verdict;
        let mut turned = leases.clone();
        turned.reverse();
        turned.retain(|lease| lease.source != Some(SourceNumber(1)));
        let ppm = |verdict| match verdict {
            Verdict::Limit(InForce { ppm, .. }) => Some(ppm),
            Verdict::Wait | Verdict::Free | Verdict::NoRatedPower(_) => None,
        };
        prop_assert_eq!(ppm(one), ppm(evaluate(turned.iter().copied(), SOURCE, &at).verdict));
    }
}
