//! A device made of the update machine and a simulated disk: slots are areas that are appended to
//! and erased, the record is a pair of copies.

use ecowatt_artifact::{
    Admitted, Compression, Description, Hash, Image, MANIFEST_MAX, Manifest, PROOF_MAX, Payload,
    PieceSize, Recipient, UnverifiedManifest, leaf, proof, sha256,
};
use ecowatt_envelope::signed::SignatureKey;
use ecowatt_model::{MonoMs, UnixMs};
use ecowatt_node::storage::{Area, Areas, SmallArea, TwoCopies};
use ecowatt_update::{Action, Health, ImageSlot, Phase, RECORD_BYTES, Record, Update, boot};

pub(crate) const PIECE: usize = 4096;
const GOOD: Health = Health {
    inverters_are_read: true,
    link_is_up: true,
    time_is_sane: true,
    memory_is_within_budget: true,
};

/// How an image behaves when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    Good,
    /// Runs, and never becomes healthy.
    Sick,
    /// Never gets as far as the update machine: the watchdog starts the device again.
    Hangs,
}

/// Two images, and a server that offers the second.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    pub(crate) temper: Temper,
    admitted: Admitted<'static>,
}

/// Signs the manifest of an image and lets a device admit it.
pub(crate) fn admit(
    image: &[u8],
    change: impl FnOnce(&mut Manifest<'static>),
) -> Admitted<'static> {
    let (image, payload) = describe(image);
    let (version, expires) = ("1.0.0".parse().unwrap(), UnixMs(1));
    let mut manifest =
        Manifest { version, expires, image, payload, hardware: "test", ..Manifest::EMPTY };
    change(&mut manifest);
    let (key, mut file) = (SignatureKey::new(&[7; 32]), [0; MANIFEST_MAX]);
    let length = manifest.sign(&key, &mut file).unwrap();
    // A few hundred bytes for each test.
    let file = Box::leak(Box::<[u8]>::from(&file[..length]));
    let verified = UnverifiedManifest::parse(file).unwrap().verify(&[key.public()]).unwrap();
    let device = Recipient {
        hardware: "test",
        now: Some(UnixMs(0)),
        image: manifest.payload.base.unwrap_or_default(),
        compressions: &[Compression(1)],
        ..Recipient::EMPTY
    };
    verified.admit(&device).unwrap()
}

impl World {
    pub(crate) fn new(bytes: usize, temper: Temper) -> Self {
        let image = |seed: usize, len: usize| {
            (0..len).map(|at| u8::try_from((at * seed + at / 253) % 256).unwrap()).collect()
        };
        let (old, new): (Vec<u8>, Vec<u8>) = (image(5, bytes - 700), image(11, bytes));
        let admitted = admit(&new, |_| {});
        Self { old, new, temper, admitted }
    }

    pub(crate) fn manifest(&self) -> &Admitted<'static> {
        &self.admitted
    }
}

pub(crate) fn describe(image: &[u8]) -> (Image, Payload) {
    let mut description = Description::new(PieceSize::SMALLEST);
    description.update(image).unwrap();
    description.finish()
}

pub(crate) fn area(slot: ImageSlot) -> Area {
    Area::Segment(match slot {
        ImageSlot::A => 1,
        ImageSlot::B => 2,
    })
}

/// Where it ended: everything is at rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) record: Record,
    pub(crate) starts: usize,
}

/// Makes a disk that a factory would deliver.
pub(crate) fn deliver<D: Areas + Clone>(disk: &D, world: &World) {
    let slot = area(ImageSlot::A);
    disk.append(slot, &world.old).unwrap();
    disk.sync(slot).unwrap();
    let record = Record::new(ImageSlot::A, describe(&world.old).0);
    open(disk).0.store(&record.to_bytes()).unwrap();
}

fn open<D: Areas + Clone>(disk: &D) -> (TwoCopies<D>, Option<Record>) {
    let (pair, state) =
        TwoCopies::open(disk.clone(), SmallArea::Sleep, RECORD_BYTES, Record::from_bytes);
    (pair, state.value)
}

fn content<D: Areas>(disk: &D, slot: ImageSlot) -> Vec<u8> {
    disk.read(area(slot), 1 << 20).unwrap().unwrap_or_default()
}

/// What the record says of the slot that is not confirmed is so.
fn check_other_slot<D: Areas>(disk: &D, record: &Record) {
    let image = match record.phase {
        Phase::Settled { previous } => previous,
        Phase::Trial { image, .. } => Some(image),
        Phase::Clearing { .. } | Phase::Staging { .. } => None,
    };
    if let Some(image) = image {
        let found = content(disk, record.confirmed.other());
        assert_eq!(describe(&found).0, image, "{record:?}");
    }
}

/// A device with its volatile parts.
struct Device<'w, D> {
    world: &'w World,
    disk: D,
    pair: TwoCopies<D>,
    update: Update,
    /// The piece that was fetched last.
    fetched: Vec<u8>,
    leaves: Vec<Hash>,
    /// Pieces that the server damages from now on.
    damaged: usize,
}

/// Switches the device on again and again until there is nothing left to do.
pub(crate) fn run<D: Areas + Clone>(disk: &D, world: &World) -> End {
    run_with(disk, world, 0, |update| {
        let _ = update.offer(world.manifest());
    })
}

/// The same with something that is done at each start, and a server that damages the first pieces.
pub(crate) fn run_with<D: Areas + Clone>(
    disk: &D,
    world: &World,
    damaged: usize,
    mut at_start: impl FnMut(&mut Update),
) -> End {
    let mut damaged = damaged;
    for starts in 1..=12 {
        let (mut pair, record) = open(disk);
        let record = record.expect("a whole record is always there");
        let mut chosen = boot(&record);
        let mut current = record.clone();
        if let Some(counted) = chosen.record.take() {
            if pair.store(&counted.to_bytes()).is_ok() {
                current = counted;
            } else {
                chosen.slot = record.confirmed;
            }
        }
        let running = content(disk, chosen.slot);
        let is_new = running == world.new;
        assert!(is_new || running == world.old, "a foreign image was started");
        check_other_slot(disk, &record);
        if is_new && world.temper == Temper::Hangs {
            continue;
        }
        let update = Update::start(current, chosen.slot, MonoMs(1));
        let leaves = world.new.chunks(PIECE).map(leaf).collect();
        let (disk, fetched) = (disk.clone(), Vec::new());
        let mut device = Device { world, disk, pair, update, fetched, leaves, damaged };
        at_start(&mut device.update);
        let is_healthy = !is_new || world.temper == Temper::Good;
        if device.live(is_healthy) {
            return End { record: device.update.record().clone(), starts };
        }
        damaged = device.damaged;
    }
    panic!("the device never comes to rest");
}

impl<D: Areas + Clone> Device<'_, D> {
    /// Runs until there is nothing to do (`true`) or the device restarts.
    fn live(&mut self, is_healthy: bool) -> bool {
        let mut now = MonoMs(1);
        for _ in 0..10_000 {
            match self.update.poll(now) {
                Some(Action::Restart) => return false,
                Some(action) => self.carry_out(action, now),
                None => {
                    if is_healthy {
                        self.update.handle_health(GOOD);
                    }
                    let Some(next) = self.update.poll_at() else { return true };
                    now = next.max(now);
                }
            }
        }
        panic!("the update goes on for ever");
    }

    fn carry_out(&mut self, action: Action, now: MonoMs) {
        match action {
            Action::Keep => {
                let bytes = self.update.record().to_bytes();
                let is_durable = self.pair.store(&bytes).is_ok();
                self.update.handle_kept(now, is_durable);
            }
            Action::Erase(slot) => {
                let is_there = self.disk.len(area(slot)).unwrap().is_some();
                let erased = if is_there { self.disk.erase(area(slot)) } else { Ok(()) };
                let is_erased = erased.and_then(|()| self.disk.settle()).is_ok();
                self.update.handle_erased(now, is_erased);
            }
            Action::Measure(slot) => {
                let length = self.disk.len(area(slot)).unwrap().unwrap_or(0);
                self.update.handle_length(now, Some(u32::try_from(length).unwrap()));
            }
            Action::Fetch { index } => self.fetch(index, now),
            Action::Stage { slot, skip } => {
                let bytes = &self.fetched[skip..];
                let staged = self.disk.append(area(slot), bytes);
                let is_durable = staged.and_then(|()| self.disk.sync(area(slot))).is_ok();
                self.update.handle_staged(now, is_durable);
            }
            Action::Read { slot, offset, length } => {
                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                let read = self.disk.read_full(area(slot), u64::from(offset), &mut bytes).unwrap();
                self.update.handle_read(now, Some(&bytes[..read]));
            }
            Action::Restart => unreachable!("handled by the caller"),
        }
    }

    fn fetch(&mut self, index: u32, now: MonoMs) {
        let at = usize::try_from(index).unwrap();
        let mut bytes = self.world.new.chunks(PIECE).nth(at).unwrap().to_vec();
        let mut path = [0; PROOF_MAX];
        let length = proof(&self.leaves, at, &mut path).unwrap();
        if self.damaged > 0 {
            self.damaged -= 1;
            bytes[0] ^= 1;
        }
        self.update.handle_fetched(now, Some((&bytes, &path[..length])));
        self.fetched = bytes;
    }
}

/// The hash that a record names for the image that runs.
pub(crate) fn runs(end: &End) -> Hash {
    end.record.image.sha256
}

pub(crate) fn is_new(end: &End, world: &World) -> bool {
    runs(end) == sha256(&world.new)
}
