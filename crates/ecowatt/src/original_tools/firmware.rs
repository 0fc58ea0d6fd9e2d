//! Prepares firmware images, and checks prepared ones.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ecowatt_clock::Clock;
use ecowatt_original_firmware::{
    IMAGE_START, Manifest, PARTITION_BYTES, Recipe, Scheme, check, is_version, prepare,
};

use super::{create, key_files, read, read_text, refuse_existing};
use crate::hint::WithHint as _;
use crate::table::plain;

/// Prepare firmware images for devices of the earlier EcoWatt, and check prepared ones.
#[derive(Debug, Args)]
pub(crate) struct FirmwareArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Prepare(PrepareArgs),
    Check(CheckArgs),
}

/// Sign and encrypt an image: write firmware_VERSION_encrypted.bin and
/// firmware_VERSION_manifest.json.
///
/// The image is hashed (SHA-256), signed (RSA-2048) and encrypted (AES-256-CBC with a random
/// initial vector), as the earlier EcoWatt's own tool did. The device checks all of it before it
/// starts the image, so the keys must be those that its firmware was built with.
///
/// Example:
///   ecowatt original keys keys
///   ecowatt original firmware prepare firmware.bin 1.0.5 --keys keys --out firmware
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct PrepareArgs {
    /// The plain image, such as PlatformIO's firmware.bin.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Its version: letters, digits, `.`, `_`, `+` and `-`. It must be the one that the image
    /// itself reports.
    #[arg(value_name = "VERSION", value_parser = version)]
    image_version: String,
    /// Folder with server_private_key.pem and aes_firmware_key.bin.
    #[arg(long, value_name = "FOLDER", default_value = "keys")]
    keys: PathBuf,
    /// Folder for both files; created if it does not exist.
    #[arg(long, value_name = "FOLDER", default_value = "firmware")]
    out: PathBuf,
    /// Padding of the signature. Devices of the original verify pkcs1v15 only; pss is what their
    /// documents name.
    #[arg(long, value_name = "SCHEME", default_value = "pkcs1v15")]
    scheme: SchemeName,
    /// Initial vector as 32 hexadecimal digits, to make a prepared image again. Never use one for
    /// two images.
    #[arg(long, value_name = "HEX16", value_parser = vector)]
    iv: Option<Vector>,
    /// Time in the manifest, in place of the current one (UTC).
    #[arg(long, value_name = "TIME")]
    timestamp: Option<String>,
}

/// Check a prepared image as a device does: decrypt it, compare its size and SHA-256, and verify
/// its signature.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Folder with firmware_VERSION_encrypted.bin and firmware_VERSION_manifest.json.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The version in their names.
    #[arg(value_name = "VERSION", value_parser = version)]
    image_version: String,
    /// Folder with server_public_key.pem and aes_firmware_key.bin.
    #[arg(long, value_name = "FOLDER", default_value = "keys")]
    keys: PathBuf,
    /// Write the plain image to FILE, which must not exist.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemeName {
    Pkcs1v15,
    Pss,
}

#[derive(Debug, Clone, Copy)]
struct Vector([u8; 16]);

/// Carries out a verb.
///
/// # Errors
/// If a file cannot be read or written, a key does not fit, or the image is not what it should be.
pub(super) fn run(args: &FirmwareArgs, clock: Clock) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Prepare(args) => run_prepare(args, clock),
        Verb::Check(args) => run_check(args),
    }
}

fn run_prepare(args: &PrepareArgs, clock: Clock) -> anyhow::Result<()> {
    let image = read(&args.image)?;
    let signing = key_files::signing_key(&args.keys).with_hint(|| NEW_KEYS)?;
    let firmware = key_files::firmware_key(&args.keys).with_hint(|| NEW_KEYS)?;
    let iv = match args.iv {
        Some(Vector(iv)) => iv,
        None => {
            let mut iv = [0; 16];
            getrandom::fill(&mut iv).context("drawing an initial vector")?;
            iv
        }
    };
    let timestamp = args.timestamp.clone().map_or_else(|| iso_8601(clock), Ok)?;
    let scheme = match args.scheme {
        SchemeName::Pkcs1v15 => Scheme::Pkcs1v15,
        SchemeName::Pss => Scheme::Pss,
    };
    let recipe = Recipe { version: &args.image_version, scheme, iv, timestamp: &timestamp };
    let made = prepare(&image, &recipe, &signing, &firmware).context("preparing the image")?;

    let files = files(&args.out, &args.image_version);
    let [encrypted, manifest] = &files;
    refuse_existing(&files).with_hint(|| "give the image another version")?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))?;
    // A server looks for manifests, so the image must be there first.
    create(encrypted, &made.encrypted, false)?;
    create(manifest, made.manifest.to_json().as_bytes(), false)?;
    for warning in warnings(&image, &made.encrypted) {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    writeln!(
        io::stderr(),
        "{} and its manifest created: {} bytes in {} chunks, signed with {}",
        encrypted.display(),
        made.manifest.encrypted_size,
        made.manifest.total_chunks,
        scheme.name()
    )?;
    Ok(())
}

fn run_check(args: &CheckArgs) -> anyhow::Result<()> {
    let [encrypted, manifest] = files(&args.folder, &args.image_version);
    let text = read_text(&manifest)?;
    let parsed =
        Manifest::from_json(&text).with_context(|| format!("reading {}", manifest.display()))?;
    anyhow::ensure!(
        parsed.version == args.image_version,
        "{} is the manifest of version {}",
        manifest.display(),
        plain(&parsed.version)
    );
    let verification = key_files::verification_key(&args.keys)?;
    let firmware = key_files::firmware_key(&args.keys)?;
    let bytes = read(&encrypted)?;
    let (image, scheme) = check(&parsed, &bytes, &verification, &firmware)
        .with_context(|| format!("checking {}", encrypted.display()))?;
    if let Some(path) = &args.image {
        create(path, &image, false)?;
    }
    for warning in warnings(&image, &bytes) {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    writeln!(
        io::stdout(),
        "version {}: {} bytes, SHA-256 {}, signature {}: intact",
        args.image_version,
        image.len(),
        parsed.sha256_hash,
        scheme.name()
    )?;
    Ok(())
}

const NEW_KEYS: &str = "`ecowatt original keys FOLDER` creates the keys of a new build";

/// What the device would refuse although everything fits together.
fn warnings(image: &[u8], encrypted: &[u8]) -> Vec<String> {
    let mut warnings = Vec::new();
    if image.first() != Some(&IMAGE_START) {
        warnings.push(format!(
            "the image does not begin with {IMAGE_START:#04x}, so it is not one for an ESP32 and \
             devices refuse it at the first chunk"
        ));
    }
    if encrypted.len() > PARTITION_BYTES {
        warnings.push(format!(
            "the encrypted image is larger than the usual partition of {PARTITION_BYTES} bytes; \
             devices with that one refuse it"
        ));
    }
    warnings
}

/// The encrypted image and the manifest.
fn files(folder: &Path, version: &str) -> [PathBuf; 2] {
    ["encrypted.bin", "manifest.json"].map(|end| folder.join(format!("firmware_{version}_{end}")))
}

/// The time as the original writes it, but in UTC: it has no zone, so its reader cannot know one.
fn iso_8601(clock: Clock) -> anyhow::Result<String> {
    let time = jiff::Timestamp::from_millisecond(clock.now().0).context("reading the clock")?;
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string())
}

fn version(text: &str) -> Result<String, String> {
    let what = "1 to 32 letters, digits, `.`, `_`, `+` or `-`, the first one a letter or digit";
    if is_version(text) { Ok(text.to_owned()) } else { Err(what.to_owned()) }
}

fn vector(text: &str) -> Result<Vector, String> {
    let digits = |at: usize| text.get(2 * at..2 * at + 2);
    let byte = |at| digits(at).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let is_plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    bytes
        .filter(|_| is_plain)
        .and_then(|bytes| bytes.try_into().ok())
        .map(Vector)
        .ok_or_else(|| "32 hexadecimal digits".to_owned())
}
