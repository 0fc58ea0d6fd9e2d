//! Keys of a firmware build in files, and keys of devices.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ecowatt_original_firmware::{FirmwareKey, SigningKey, VerificationKey, header};

use super::{create, read, read_text, refuse_existing};
use crate::hint::WithHint as _;

const PRIVATE_FILE: &str = "server_private_key.pem";
const PUBLIC_FILE: &str = "server_public_key.pem";
const FIRMWARE_FILE: &str = "aes_firmware_key.bin";
const HEADER_FILE: &str = "keys.h";

/// Create the keys of a firmware build for devices of the earlier EcoWatt.
///
/// Writes server_private_key.pem (RSA-2048, signs images), server_public_key.pem (verifies them),
/// aes_firmware_key.bin (AES-256, encrypts them) and keys.h (what a build of the firmware needs) to
/// FOLDER. All but the public key are readable for their owner only. Existing files are never
/// overwritten: devices in the field accept only images under the keys that they were built with.
///
/// All devices of a build share these keys. The key of a device's uploads is its own:
/// `ecowatt original device-key`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// Folder for the files; created if it does not exist.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Print a new key for the uploads of one device of the earlier EcoWatt.
///
/// It is 32 random bytes as 64 hexadecimal digits, for
/// `ecowatt device enrol ID --original --key HEX32` and for the device's firmware.
#[derive(Debug, Args)]
pub(crate) struct DeviceKeyArgs {
    /// Print it as the C array that the firmware's security.cpp has instead.
    #[arg(long)]
    c: bool,
}

/// Creates the files of a build's keys.
///
/// # Errors
/// If one of them exists, or cannot be written.
pub(super) fn run(args: &KeysArgs) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = &args.folder;
    let file = |name| folder.join(name);
    let all = [PRIVATE_FILE, PUBLIC_FILE, FIRMWARE_FILE, HEADER_FILE].map(file);
    refuse_existing(&all).with_hint(|| "choose an empty folder for new keys")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("creating {}", folder.display()))?;
    let signing = SigningKey::generate().context("making the signing key")?;
    let verification = signing.verification_key();
    let firmware = FirmwareKey::generate().context("making the firmware key")?;
    let header = header(&verification, &firmware, &hex(&random()?));
    let [private_path, public_path, firmware_path, header_path] = &all;
    create(private_path, signing.to_pem().as_bytes(), true)?;
    create(public_path, verification.to_pem().as_bytes(), false)?;
    create(firmware_path, firmware.as_bytes(), true)?;
    create(header_path, header.as_bytes(), true)?;
    writeln!(
        io::stderr(),
        "{}: {PRIVATE_FILE}, {PUBLIC_FILE}, {FIRMWARE_FILE} and {HEADER_FILE} created; keep \
         {PRIVATE_FILE} away from the server and in a backup: without it no device of this build \
         can be updated",
        folder.display()
    )?;
    Ok(())
}

/// Prints a key of a device.
///
/// # Errors
/// If the system has no random numbers, or standard output cannot be written.
pub(super) fn print_device_key(args: &DeviceKeyArgs) -> anyhow::Result<()> {
    let key = random()?;
    let mut text = String::new();
    if args.c {
        text.push_str("static const uint8_t PSK_HMAC[32] = {\n");
        for row in key.chunks(8) {
            text.push_str("   ");
            row.iter().try_for_each(|byte| write!(text, " 0x{byte:02x},"))?;
            text.push('\n');
        }
        text.push_str("};\n");
    } else {
        text.push_str(&hex(&key));
        text.push('\n');
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// The private half of a folder of keys.
pub(super) fn signing_key(folder: &Path) -> anyhow::Result<SigningKey> {
    let path = folder.join(PRIVATE_FILE);
    SigningKey::from_pem(&read_text(&path)?).with_context(|| format!("reading {}", path.display()))
}

/// The public half.
pub(super) fn verification_key(folder: &Path) -> anyhow::Result<VerificationKey> {
    let path = folder.join(PUBLIC_FILE);
    VerificationKey::from_pem(&read_text(&path)?)
        .with_context(|| format!("reading {}", path.display()))
}

/// The key that images are encrypted with.
pub(super) fn firmware_key(folder: &Path) -> anyhow::Result<FirmwareKey> {
    let path = folder.join(FIRMWARE_FILE);
    FirmwareKey::from_bytes(&read(&path)?).with_context(|| format!("reading {}", path.display()))
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("drawing a key")?;
    Ok(key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
