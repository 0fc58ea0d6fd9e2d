//! Power cuts at every write of an update: at every byte of small writes, at one in about a hundred
//! bytes of large ones, with what was not synced kept, lost, or there only as length; and a second
//! cut during the recovery.
//!
//! After each cut the device starts the old or the new image and nothing else (checked in the rig
//! at every start), and comes to rest where it would have without the cut.

use ecowatt_node::nor::Nor;
use ecowatt_update::{Phase, Revert, Update};

use crate::chip::{self, Chip};
use crate::disk::{Op, Platter, TestDisk, Unsynced};
use crate::rig::{self, End, Temper, World, deliver, is_new};

/// Writes of up to this many bytes are torn at every byte.
const SMALL: usize = 200;
const STEP: usize = 97;
/// One of this many first cuts gets second ones.
const DEEPER: usize = 101;

/// Places of an operation at which it is cut.
fn places(cuts: usize) -> impl Iterator<Item = usize> {
    (0..cuts).filter(move |at| cuts <= SMALL || at % STEP == 0 || at + 2 >= cuts)
}

/// A life on a disk: how it runs, and what must hold where it ends.
struct Life<'w> {
    world: &'w World,
    run: &'w dyn Fn(&TestDisk) -> End,
    check: &'w dyn Fn(&End),
}

impl Life<'_> {
    /// Cuts everywhere, and returns the number of cuts.
    fn sweep(&self, platter: &Platter) -> usize {
        let disk = TestDisk::holding(platter.clone());
        (self.check)(&(self.run)(&disk));
        let mut count = 0;
        self.for_each_cut(platter, &disk.ops(), |left| {
            let disk = TestDisk::holding(left.clone());
            (self.check)(&(self.run)(&disk));
            count += 1;
            if count % DEEPER == 0 {
                let ops = disk.ops();
                let mut second = 0;
                self.for_each_cut(left, &ops, |left| {
                    second += 1;
                    // The recovery repeats most of the life: a part of it is enough.
                    if second % 7 == 0 {
                        (self.check)(&(self.run)(&TestDisk::holding(left.clone())));
                    }
                });
                count += second / 7;
            }
        });
        count
    }

    fn for_each_cut(&self, platter: &Platter, ops: &[Op], mut take: impl FnMut(&Platter)) {
        let mut platter = platter.clone();
        for op in ops {
            for at in places(op.cuts()) {
                for unsynced in Unsynced::ALL {
                    take(&platter.cut(op, at, unsynced));
                }
            }
            platter.apply(op);
        }
    }

    fn delivered(&self) -> Platter {
        let disk = TestDisk::default();
        deliver(&disk, self.world);
        disk.platter()
    }
}

#[test]
fn update_survives_every_cut_on_a_disk() {
    let world = World::new(14_000, Temper::Good);
    let life = Life {
        world: &world,
        run: &|disk| rig::run(disk, &world),
        check: &|end| {
            assert!(is_new(end, &world), "{end:?}");
            assert!(matches!(end.record.phase, Phase::Settled { previous: Some(_) }), "{end:?}");
        },
    };
    let cuts = life.sweep(&life.delivered());
    println!("{cuts} power cuts during an update");
    assert!(cuts > 3_000, "{cuts}");
}

#[test]
fn image_that_never_becomes_healthy_is_reverted_whatever_is_cut() {
    for (temper, reasons) in [
        (Temper::Sick, &[Revert::Unhealthy, Revert::TooManyStarts][..]),
        (Temper::Hangs, &[Revert::TooManyStarts]),
    ] {
        let world = World::new(9_000, temper);
        let life = Life {
            world: &world,
            run: &|disk| rig::run(disk, &world),
            check: &|end| {
                assert!(!is_new(end, &world), "{end:?}");
                assert!(end.record.last.is_some_and(|last| reasons.contains(&last)), "{end:?}");
                assert!(end.record.has_failed(&world.manifest().image));
            },
        };
        let cuts = life.sweep(&life.delivered());
        println!("{cuts} power cuts during a reverted update: {temper:?}");
        assert!(cuts > 2_000, "{cuts}");
    }
}

#[test]
fn going_back_survives_every_cut() {
    let world = World::new(9_000, Temper::Good);
    let disk = TestDisk::default();
    deliver(&disk, &world);
    assert!(is_new(&rig::run(&disk, &world), &world));
    let platter = disk.platter();
    // Goes back once; a device that was cut before does so again, and one that was cut later rests.
    let back = |update: &mut Update| {
        let is_first = update.record().image == world.manifest().image;
        assert!(
            !is_first || update.go_back() || update.progress() != ecowatt_update::Progress::Settled
        );
    };
    let life = Life {
        world: &world,
        run: &|disk| rig::run_with(disk, &world, 0, back),
        check: &|end| assert!(!is_new(end, &world), "{end:?}"),
    };
    let cuts = life.sweep(&platter);
    println!("{cuts} power cuts while a device goes back");
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn update_survives_every_cut_on_nor_flash() {
    let world = World::new(9_000, Temper::Good);
    let chip = Chip::blank(14);
    deliver(&Nor::open(chip.clone()).unwrap(), &world);
    let delivered = chip.bytes();
    let life = |bytes: Vec<u8>| {
        let chip = Chip::holding(bytes);
        let end = rig::run(&Nor::open(chip.clone()).unwrap(), &world);
        assert!(is_new(&end, &world), "{end:?}");
        chip.ops()
    };
    let mut count = 0;
    for_each_cut_of_chip(&delivered, &life(delivered.clone()), |left| {
        let ops = life(left.clone());
        count += 1;
        if count % DEEPER == 0 {
            let mut second = 0;
            for_each_cut_of_chip(&left, &ops, |left| {
                second += 1;
                if second % 29 == 0 {
                    life(left);
                    count += 1;
                }
            });
        }
    });
    println!("{count} power cuts during an update on NOR flash");
    assert!(count > 1_000, "{count}");
}

fn for_each_cut_of_chip(bytes: &[u8], ops: &[chip::Op], mut take: impl FnMut(Vec<u8>)) {
    let mut image = bytes.to_vec();
    for op in ops {
        for at in places(op.cuts()) {
            let mut left = image.clone();
            op.cut(&mut left, at);
            take(left);
        }
        op.apply(&mut image);
    }
}
