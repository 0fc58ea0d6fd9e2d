//! Devices of a load generator: keys are created in the store, streams announced.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, RequestId};
use ecowatt_model::{Counter, DeviceNumber, KeyGeneration, SourceNumber, StreamNumber, UnixMs};
use ecowatt_store::{Author, ClaimFor, NewClaim, RedeemClaim, Store};
use ecowatt_wire::{Stream, UplinkWriter};

use crate::load::send;

/// When the devices were created: 2026-01-01T00:00:00Z.
const CREATED: UnixMs = UnixMs(1_767_225_600_000);

/// Devices created at once: enough to share commits, few enough for the store's queue.
const ENROLLING_MAX: usize = 256;
/// Connections over which streams are announced.
const ANNOUNCING: usize = 64;

/// Devices with keys, created in the store before the server starts.
pub(crate) struct Devices {
    pub(crate) keys: Vec<LinkKeys>,
}

impl Devices {
    /// Creates devices in an empty store that no server has open.
    pub(crate) async fn create(data: &Path, count: u32) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let store = Store::open(data).context("opening the store")?;
        let mut tasks = tokio::task::JoinSet::new();
        let mut keys = Vec::new();
        for index in 0..count {
            if tasks.len() >= ENROLLING_MAX
                && let Some(made) = tasks.join_next().await
            {
                keys.push(made??);
            }
            let store = store.clone();
            tasks.spawn(async move { enrol(&store, index).await });
        }
        while let Some(made) = tasks.join_next().await {
            keys.push(made??);
        }
        keys.sort_unstable_by_key(|(device, _)| *device);
        let numbers_are_dense = (1..).zip(&keys).all(|(n, (device, _))| device.0 == n);
        ensure!(numbers_are_dense, "a new store numbers its devices from 1");
        Ok(Self { keys: keys.into_iter().map(|(_, keys)| keys).collect() })
    }

    /// Key id of the device with this index.
    pub(crate) fn kid(index: usize) -> Result<KeyId> {
        let device = DeviceNumber(u32::try_from(index + 1)?);
        Ok(KeyId { device, generation: KeyGeneration(1) })
    }

    /// Announces the stream of each device once.
    pub(crate) async fn announce(&self, listen: &str) -> Result<()> {
        let profile = ecowatt_profile::catalogue::find("ecowatt/seed-sim");
        let profile = profile.context("no profile for the original's map")?;
        let layout = profile.compile(ecowatt_profile::Transport::TCP)?.layout.to_cbor();
        let stream = Stream { number: StreamNumber(1), source: SourceNumber(0), layout: &layout };
        let mut messages = Vec::new();
        for (index, keys) in self.keys.iter().enumerate() {
            let mut message = vec![0; layout.len() + 128];
            let mut writer = UplinkWriter::new(&mut message);
            writer.streams(&mut std::iter::once(stream), 0)?;
            let length = writer.finish();
            let request = RequestId { kid: Self::kid(index)?, counter: Counter(1) };
            let length = ecowatt_envelope::seal_uplink(keys, request, &mut message, length)?;
            message.truncate(length);
            messages.push(message);
        }
        let count = messages.len() as u64;
        let share = messages.len().div_ceil(ANNOUNCING).max(1);
        let connections = messages.chunks(share).map(<[_]>::to_vec).collect();
        let run = send(listen, connections, None).await?;
        ensure!(run.accepted == count, "every device announces its stream");
        Ok(())
    }
}

async fn enrol(store: &Store, index: u32) -> Result<(DeviceNumber, LinkKeys)> {
    let id = format!("{index:05}");
    let at = CREATED;
    let by = Author::new("benchmark", at);
    let claim = NewClaim {
        claim_for: ClaimFor::New {
            name: format!("Device {index}"),
            site: "Bench".into(),
            time_zone: Some("UTC".into()),
        },
        id: id.clone(),
        secret: vec![0; 15],
        created: at,
        expires: UnixMs(i64::MAX),
    };
    let device = store.create_claim(by.clone(), claim).await?;
    let secret: [u8; 32] = std::array::from_fn(|at| device.0.to_le_bytes()[at % 4]);
    let kid = KeyId { device, generation: KeyGeneration(1) };
    let redeem = RedeemClaim {
        id,
        public_key: secret,
        generation: kid.generation,
        first_epoch: ecowatt_model::BootEpoch(1),
        secret,
        reply: Vec::new(),
        at,
    };
    store.redeem_claim(by, redeem).await?;
    Ok((device, LinkKeys::derive(&DeviceKey::new(secret), kid)))
}
