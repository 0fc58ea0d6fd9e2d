//! `ecowatt import-original`: takes over what the earlier EcoWatt's server has.
//!
//! History takes the way of every upload: it is sealed with the device's key and posted under
//! nonces from 0 on, far below those that the device has reached. The server moves the nonce in the
//! transaction that stores an upload, and an upload depends on nothing but the rows before its end.
//! So the server's own nonce says how far the history was taken, however an earlier run ended. The
//! last upload is empty and has the device's last nonce.

mod firmware;
mod key_file;
mod nonces;
mod rows;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64ct::{Base64, Encoding as _};
use clap::Args;
use ecowatt_api::{EnrolOriginal, NewSite};
use ecowatt_client::{Client, OriginalUpload};
use ecowatt_envelope::original::{NoncePlace, OriginalKey};
use ecowatt_store::{OriginalDatabase, RegisteredDevice};
use jiff::tz::TimeZone;

use self::key_file::Keys;
use self::nonces::Nonces;
use self::rows::{Sample, Upload};
use crate::hint::WithHint as _;
use crate::operator::Connection;
use crate::table::plain;

/// Rows per query.
const ROWS_AT_ONCE: u32 = 10_000;

/// Problems of a device that are printed; the rest is counted.
const PROBLEMS_SHOWN: u64 = 20;

/// Attempts for one upload while the server is busy or limits the device, half a minute apart
/// unless it names a time.
const ATTEMPTS_MAX: u32 = 120;
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Take over devices, history and nonces of the earlier EcoWatt's server.
///
/// Reads its database and its nonces, enrols each device with its own key, and sends the history to
/// the server through the devices' own protocol. Rows are restored to exact registers or reported;
/// every problem is named with its row. Stop the earlier server first, and let devices call this
/// server only afterwards.
///
/// It can be interrupted and run again: what the server has is not stored twice. --dry-run reads
/// and checks everything and sends nothing.
///
/// Example:
///   ecowatt import-original --database ecowatt_data.db --nonces nonce_state.json \
///     --keys keys.toml --time-zone Asia/Colombo --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ImportOriginalArgs {
    #[command(flatten)]
    connection: Connection,
    /// The earlier server's database, ecowatt_data.db; only read.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// Its nonces, nonce_state.json.
    #[arg(long, value_name = "FILE")]
    nonces: PathBuf,
    /// TOML file with the key of each device: `ESP32_001 = "64 hexadecimal digits"`. A device
    /// without one is not taken over.
    #[arg(long, value_name = "FILE", default_value = "keys.toml")]
    keys: PathBuf,
    /// Give devices without a key a new one, and add it to the file of --keys. Their firmware has to
    /// get it before they can upload.
    #[arg(long)]
    new_keys: bool,
    /// Time zone of the earlier server's clock, such as Asia/Colombo: its times have none. It is
    /// also that of a new site.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    time_zone: TimeZone,
    /// Site of the devices; created if it does not exist [default: Original devices].
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Check the earlier server's folder of firmware images as well.
    #[arg(long, value_name = "DIR")]
    firmware: Option<PathBuf>,
    /// Read and check everything, and send nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What was taken over of a device.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    problems: u64,
    /// Rows that repeat the one before.
    repeated: u64,
    uploads: u32,
    /// Of these, those that the server had from an earlier run.
    had: u32,
    samples: usize,
}

/// Takes over what can be.
///
/// # Errors
/// If a file cannot be read, the server cannot be reached, or something was not taken over.
pub(crate) fn run(args: &ImportOriginalArgs) -> anyhow::Result<()> {
    let database = OriginalDatabase::open(&args.database)
        .with_context(|| format!("opening {}", args.database.display()))?;
    let nonces = Nonces::read(&args.nonces)?;
    let mut keys = Keys::read(&args.keys)?;
    let client = if args.dry_run { None } else { Some(args.connection.client()?) };
    let mut failures = 0_u64;
    let devices = database.devices().context("reading the devices")?;
    for device in &devices {
        let taken = take_over(args, &database, client.as_ref(), device, &nonces, &mut keys);
        match taken {
            Ok(tally) => {
                failures += tally.problems;
                tally.print(&device.id, args.dry_run)?;
            }
            Err(error) => {
                failures += 1;
                writeln!(io::stderr(), "{}: {}", plain(&device.id), plain(&format!("{error:#}")))?;
            }
        }
    }
    let is_known = |id: &str| devices.iter().any(|device| device.id == id);
    for id in nonces.ids().filter(|id| !is_known(id)) {
        failures += 1;
        writeln!(
            io::stderr(),
            "{}: {} has its nonce, and the database does not know it",
            plain(id),
            args.nonces.display()
        )?;
    }
    for table in database.unread_tables().context("reading the other tables")? {
        if table.rows > 0 {
            writeln!(io::stderr(), "{} rows of {} are not taken over", table.rows, table.name)?;
        }
    }
    if let Some(folder) = &args.firmware {
        failures += firmware::check(folder)?;
    }
    if failures > 0 {
        bail!("{failures} problems; what they do not concern was taken over");
    }
    Ok(())
}

/// Enrols a device and sends its history.
fn take_over(
    args: &ImportOriginalArgs,
    database: &OriginalDatabase,
    client: Option<&Client>,
    device: &RegisteredDevice,
    nonces: &Nonces,
    keys: &mut Keys,
) -> anyhow::Result<Tally> {
    let key = match keys.get(&device.id) {
        Some(key) => key,
        None if args.new_keys && args.dry_run => String::new(),
        None if args.new_keys => keys.create(&device.id)?,
        None => {
            return Err(anyhow::anyhow!(
                "not taken over: {} has no key for it; add one, or use `--new-keys`",
                args.keys.display()
            ));
        }
    };
    let (mut tally, goal) = (Tally::default(), nonces.of(&device.id));
    let mut sender = match client {
        None => None,
        Some(client) => Some(Sender::start(args, client, device, &key)?),
    };
    let mut upload = Upload::default();
    let (mut after, mut last): (i64, Option<Sample>) = (0, None);
    loop {
        let rows = database.measurements(&device.id, after, ROWS_AT_ONCE)?;
        let Some(end) = rows.last() else { break };
        after = end.number;
        for row in &rows {
            tally.rows += 1;
            let sample = match Sample::read(row, &args.time_zone) {
                Ok(sample) => sample,
                Err(problem) => {
                    tally.report(&device.id, row.number, &problem)?;
                    continue;
                }
            };
            if last.as_ref() == Some(&sample) {
                tally.repeated += 1;
                continue;
            }
            last = Some(sample.clone());
            if let Some(next) = upload.add(sample) {
                send(sender.as_mut(), &std::mem::take(&mut upload), &mut tally)?;
                // An empty upload takes any sample.
                let _ = upload.add(next);
            }
        }
    }
    if !upload.is_empty() {
        send(sender.as_mut(), &upload, &mut tally)?;
    }
    if let Some(sender) = sender.as_mut() {
        sender.finish(goal, tally.uploads)?;
    }
    Ok(tally)
}

fn send(sender: Option<&mut Sender<'_>>, upload: &Upload, tally: &mut Tally) -> anyhow::Result<()> {
    tally.uploads += 1;
    // Nonce 0 asked how far the server is.
    let nonce = tally.uploads;
    tally.samples += upload.samples();
    let Some(sender) = sender else { return Ok(()) };
    if nonce <= sender.last {
        tally.had += 1;
        return Ok(());
    }
    sender.send(nonce, &upload.text())
}

impl Tally {
    fn report(&mut self, id: &str, row: i64, problem: &rows::RowProblem) -> io::Result<()> {
        self.problems += 1;
        if self.problems <= PROBLEMS_SHOWN {
            let text = format!("{id}: sensor_data row {row} is not taken over: {problem}");
            writeln!(io::stderr(), "{}", plain(&text))?;
        }
        Ok(())
    }

    fn print(&self, id: &str, is_dry: bool) -> io::Result<()> {
        if let Some(more @ 1..) = self.problems.checked_sub(PROBLEMS_SHOWN) {
            writeln!(io::stderr(), "{}: {more} more rows are not taken over", plain(id))?;
        }
        let Self { rows, repeated, uploads, had, samples, .. } = self;
        let verb = if is_dry { "can be taken over" } else { "taken over" };
        writeln!(
            io::stdout(),
            "{}: {samples} samples of {rows} rows {verb} in {uploads} uploads ({had} were there, \
             {repeated} rows repeat the one before)",
            plain(id)
        )
    }
}

/// Sends uploads of one device.
struct Sender<'a> {
    client: &'a Client,
    id: &'a str,
    key: OriginalKey,
    /// The last nonce that the server has.
    last: u32,
}

/// How the server, which tells it only to the holder of the key, names the last nonce.
const LAST_NONCE: &str = "<= last valid nonce ";

impl<'a> Sender<'a> {
    /// Finds out how far the server is, and enrols the device if the server does not know its key.
    fn start(
        args: &ImportOriginalArgs,
        client: &'a Client,
        device: &'a RegisteredDevice,
        key: &str,
    ) -> anyhow::Result<Self> {
        let bytes = key_file::bytes(key).context("its key is not 64 hexadecimal digits")?;
        let id = device.id.as_str();
        let mut sender = Self { client, id, key: OriginalKey::new(bytes), last: 0 };
        if let Some(last) = sender.last_nonce()? {
            sender.last = last;
            return Ok(sender);
        }
        let site = args
            .site
            .clone()
            .map(|name| NewSite { name, time_zone: args.time_zone.iana_name().map(str::to_owned) });
        let (id, name) = (id.to_owned(), device.name.clone());
        let request = EnrolOriginal { id, key: key.to_owned(), name, site, published_key: false };
        client.enrol_original(&request).context("enrolling it")?;
        sender.last = sender.last_nonce()?.context("the server does not take its key")?;
        Ok(sender)
    }

    /// Uses nonce 0, or learns the last one; `None` if the server does not know the key.
    fn last_nonce(&self) -> anyhow::Result<Option<u32>> {
        match self.post(0, EMPTY)? {
            OriginalUpload::Taken { .. } => Ok(Some(0)),
            OriginalUpload::Refused { error } => match error.split_once(LAST_NONCE) {
                Some((_, last)) => Ok(Some(last.trim().parse().context("reading its nonce")?)),
                None => Ok(None),
            },
            OriginalUpload::Later { .. } => bail!("the server is busy"),
        }
    }

    fn send(&mut self, nonce: u32, text: &str) -> anyhow::Result<()> {
        match self.post(nonce, text)? {
            OriginalUpload::Taken { .. } => {
                self.last = nonce;
                Ok(())
            }
            OriginalUpload::Refused { error } => Err(anyhow::anyhow!("upload refused: {error}"))
                .with_hint(|| "keep the device from this server until its history is taken over"),
            OriginalUpload::Later { .. } => bail!("the server is busy"),
        }
    }

    /// Moves the nonce on to the device's, if it has one.
    fn finish(&mut self, goal: Option<u32>, uploads: u32) -> anyhow::Result<()> {
        let goal = goal.unwrap_or(uploads);
        anyhow::ensure!(
            !(uploads + 1..goal).contains(&self.last),
            "not taken over: the server has nonce {} of it, so it uploaded here before its history \
             was taken over",
            self.last
        );
        if goal > self.last {
            return self.send(goal, EMPTY);
        }
        if self.last > goal && self.last > uploads {
            // Whether the history is there cannot be told from the nonce.
            writeln!(
                io::stderr(),
                "{}: the server has later uploads of it (nonce {}), so nothing was sent: its \
                 history was taken over before, or it uploaded here first",
                plain(self.id),
                self.last
            )?;
        } else if self.last > goal {
            writeln!(
                io::stderr(),
                "{}: its history took {uploads} nonces, so its uploads count only above that",
                plain(self.id)
            )?;
        }
        Ok(())
    }

    /// Posts until the server takes or refuses it. An answer that was lost shows in the next one.
    fn post(&self, nonce: u32, text: &str) -> anyhow::Result<OriginalUpload> {
        let body = seal(&self.key, nonce, text);
        for _ in 0..ATTEMPTS_MAX {
            match self.client.upload_original(self.id, &body).context("sending its history")? {
                OriginalUpload::Later { retry_after } => {
                    std::thread::sleep(retry_after.unwrap_or(PAUSE).min(PAUSE_MAX));
                }
                answer => return Ok(answer),
            }
        }
        Ok(OriginalUpload::Later { retry_after: None })
    }
}

/// An upload without packets.
const EMPTY: &str = r#"{"compressed_data":[]}"#;

fn seal(key: &OriginalKey, nonce: u32, text: &str) -> String {
    let tag = key.tag(NoncePlace::Before, nonce, text.as_bytes());
    let mac: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let payload = base64(text.as_bytes());
    serde_json::json!({
        "nonce": nonce, "payload": payload, "mac": mac, "encrypted": false, "compressed": false,
    })
    .to_string()
}

fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| "an IANA time zone such as Asia/Colombo".to_owned())
}
