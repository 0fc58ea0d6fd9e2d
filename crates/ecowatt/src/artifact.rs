//! `ecowatt artifact`: images of devices and their manifests.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use ecowatt_artifact::{
    Description, Image, MANIFEST_MAX, Manifest, Payload, PieceSize, Profiles, UnverifiedManifest,
    Version, is_name,
};
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;

use crate::argument;
use crate::hint::WithHint as _;
use crate::key_file::{self, KeyKind};

/// Sign images of devices, and check what was signed.
///
/// Both work without a server, so that the key can stay on a machine that has no network.
#[derive(Debug, Args)]
pub(crate) struct ArtifactArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sign an image: write the manifest that devices check before they install it.
    // Its own `--version` is the image's.
    #[command(disable_version_flag = true)]
    Sign(SignArgs),
    /// Check that an image and its manifest belong together, that the manifest was signed with one
    /// of the keys, and that it has not expired.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct SignArgs {
    /// The image.
    image: PathBuf,
    /// Version of the image, such as 1.4.0. Devices refuse older ones than they run.
    #[arg(long, value_name = "V")]
    version: Version,
    /// The hardware that the image is for, such as linux-x86_64 or esp32c3.
    #[arg(long, value_name = "H", value_parser = name)]
    hardware: String,
    /// The secret key, from `ecowatt keys generate --kind targets`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write the manifest.
    #[arg(short, long, value_name = "MANIFEST")]
    output: PathBuf,
    /// How long devices accept the manifest, such as 90d.
    #[arg(long, value_name = "DURATION", value_parser = argument::duration, default_value = "365d")]
    valid_for: Duration,
    /// An inverter profile that the image supports; may be repeated [default: all].
    #[arg(long = "profile", value_name = "PROFILE", value_parser = name)]
    profiles: Vec<String>,
    /// The oldest version that may be replaced by this one.
    #[arg(long, value_name = "V")]
    minimum_version: Option<Version>,
    /// Permit going back: versions up to this one may be replaced although they are newer.
    #[arg(long, value_name = "V")]
    replaces_up_to: Option<Version>,
    /// Size of the pieces that a device checks one by one, as a power of two from 12 (4 KiB, for
    /// microcontrollers) to 16 (64 KiB).
    #[arg(long, value_name = "EXPONENT", value_parser = piece, default_value = "12")]
    piece: PieceSize,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The image.
    image: PathBuf,
    /// Its manifest.
    manifest: PathBuf,
    /// A public key that may have signed it, such as targets.pub; may be repeated.
    #[arg(long = "key", value_name = "FILE.pub", required = true)]
    keys: Vec<PathBuf>,
    /// Also check that the image is for this hardware.
    #[arg(long, value_name = "H", value_parser = name)]
    hardware: Option<String>,
}

/// Carries out a verb.
///
/// # Errors
/// If a file cannot be read or written, or if anything is wrong with an artifact.
pub(crate) fn run(args: &ArtifactArgs, clock: &Clock) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Sign(args) => sign(args, clock.now()),
        Verb::Verify(args) => verify(args, clock.now()),
    }
}

fn sign(args: &SignArgs, now: UnixMs) -> anyhow::Result<()> {
    let key = key_file::read_secret(&args.key, KeyKind::Targets)?;
    let mut names: Vec<&str> = args.profiles.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let profiles = Profiles::from_slice(&names)
        .map_err(|_| anyhow!("{} profiles are more than a manifest can name", names.len()))?;
    let (image, payload) = describe(&args.image, args.piece)?;
    let manifest = Manifest {
        version: args.version,
        hardware: &args.hardware,
        image,
        payload,
        expires: now.plus(args.valid_for),
        profiles,
        minimum_version: args.minimum_version,
        replaces_up_to: args.replaces_up_to,
    };
    let mut file = [0; MANIFEST_MAX];
    let length = manifest.sign(&key, &mut file).context("signing the manifest")?;
    write_whole(&args.output, &file[..length])
        .with_context(|| format!("writing {}", args.output.display()))?;
    let expires = instant(manifest.expires)?;
    writeln!(
        io::stderr(),
        "signed version {} for {} ({} bytes) with the targets key {}; devices accept it until {expires}",
        args.version,
        args.hardware,
        image.size,
        key.public().id(),
    )?;
    Ok(())
}

fn verify(args: &VerifyArgs, now: UnixMs) -> anyhow::Result<()> {
    let keys = args
        .keys
        .iter()
        .map(|path| key_file::read_public(path, KeyKind::Targets))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let shown = args.manifest.display();
    let file = read_manifest(&args.manifest)?;
    let manifest = UnverifiedManifest::parse(&file)
        .and_then(|unverified| unverified.verify(&keys))
        .with_context(|| format!("the manifest {shown}"))?;
    let expires = instant(manifest.expires)?;
    if now >= manifest.expires {
        return Err(anyhow!("the manifest {shown} expired at {expires}"))
            .with_hint(|| "sign the image again with `ecowatt artifact sign`");
    }
    if let Some(hardware) = args.hardware.as_ref().filter(|name| *name != manifest.hardware) {
        bail!("the manifest {shown} is for {}, not for {hardware}", manifest.hardware);
    }
    check_image(&args.image, &manifest)?;
    let Manifest { version, hardware, image, .. } = manifest.into_manifest();
    writeln!(
        io::stdout(),
        "version {version} for {hardware}, {} bytes, valid until {expires}: everything holds",
        image.size
    )?;
    Ok(())
}

/// Compares an image with all that its manifest says of it.
fn check_image(path: &Path, manifest: &Manifest<'_>) -> anyhow::Result<()> {
    let shown = path.display();
    let (image, payload) = describe(path, manifest.payload.piece)?;
    let expected = manifest.image;
    if image.size != expected.size {
        bail!("{shown} has {} bytes, and the image in the manifest {}", image.size, expected.size);
    }
    if image.sha256 != expected.sha256 {
        bail!("{shown} is not the image in the manifest: its SHA-256 differs");
    }
    if Payload::plain(payload.size, payload.piece, payload.root) != manifest.payload {
        bail!("the payload in the manifest is not {shown} itself");
    }
    Ok(())
}

/// Reads an image once and describes it.
fn describe(path: &Path, piece: PieceSize) -> anyhow::Result<(Image, Payload)> {
    let shown = path.display();
    let reading = || format!("reading the image {shown}");
    let mut file = File::open(path).with_context(reading)?;
    let mut description = Description::new(piece);
    let mut bytes = vec![0; PieceSize::LARGEST.bytes()];
    loop {
        match file.read(&mut bytes).with_context(reading)? {
            0 => break,
            read => {
                description.update(&bytes[..read]).with_context(|| format!("the image {shown}"))?
            }
        }
    }
    let (image, payload) = description.finish();
    if image.size == 0 {
        bail!("the image {shown} is empty");
    }
    Ok((image, payload))
}

/// Reads a manifest.
pub(crate) fn read_manifest(path: &Path) -> anyhow::Result<Vec<u8>> {
    let reading = || format!("reading the manifest {}", path.display());
    read_at_most(path, MANIFEST_MAX).with_context(reading)
}

/// Reads at most one byte more than a document may have, whatever the file is.
pub(crate) fn read_at_most(path: &Path, length_max: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(length_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that it is there as a whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a name of up to 32 letters, digits and . _ / + -, such as linux-x86_64".into())
    }
}

fn piece(text: &str) -> Result<PieceSize, String> {
    text.parse()
        .ok()
        .and_then(PieceSize::from_exponent)
        .ok_or_else(|| "a number from 12 to 16".into())
}

pub(crate) fn instant(at: UnixMs) -> anyhow::Result<String> {
    let at =
        jiff::Timestamp::from_millisecond(at.0).context("the time of expiry is out of range")?;
    Ok(format!("{at:.0}"))
}
