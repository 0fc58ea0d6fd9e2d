//! `ecowatt trust`: root, targets and timestamp, made and checked without a server.

mod arguments;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use ecowatt_artifact::trust::{Role, Root, Standing, Targets, Timestamp, Trust};
use ecowatt_artifact::{UnverifiedManifest, sha256};
use ecowatt_clock::Clock;
use ecowatt_envelope::cosigned::{COSIGNED_MAX, Signature, UnverifiedCosigned, assemble};
use ecowatt_envelope::signed::SignatureKey;
use ecowatt_model::UnixMs;

pub(crate) use self::arguments::TrustArgs;
use self::arguments::{CosignArgs, RootArgs, TargetsArgs, TimestampArgs, Verb, VerifyArgs};
use crate::artifact::{instant, read_at_most, read_manifest, write_whole};
use crate::hint::WithHint as _;
use crate::key_file::{self, KeyKind};

/// Carries out a verb.
///
/// # Errors
/// If a file cannot be read or written, or if a document is not what it should be.
pub(crate) fn run(args: &TrustArgs, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
    match &args.verb {
        Verb::Root(args) => make_root(args, now),
        Verb::Targets(args) => make_targets(args, now),
        Verb::Timestamp(args) => make_timestamp(args, now),
        Verb::Cosign(args) => cosign(args),
        Verb::Verify(args) => verify(args, now),
    }
}

fn make_root(args: &RootArgs, now: UnixMs) -> anyhow::Result<()> {
    let root = Root {
        version: args.number,
        expires: now.plus(args.valid_for),
        root: role(KeyKind::Root, &args.root_keys, args.root_threshold)?,
        targets: role(KeyKind::Targets, &args.targets_keys, args.targets_threshold)?,
        timestamp: role(KeyKind::Timestamp, &args.timestamp_keys, args.timestamp_threshold)?,
    };
    let mut content = [0; Root::CONTENT_MAX];
    let length = root.write(&mut content)?;
    if Root::read(&content[..length]).is_none() {
        bail!("a key has two roles, and every key may have one");
    }
    sign(KeyKind::Root, &content[..length], &args.keys, &args.output)
}

fn role(kind: KeyKind, files: &[PathBuf], threshold: u8) -> anyhow::Result<Role> {
    let read = |path: &PathBuf| key_file::read_public(path, kind);
    let keys = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    Role::new(threshold, &keys).ok_or_else(|| {
        let (kind, count) = (kind.as_str(), keys.len());
        anyhow!("{threshold} of {count} {kind} keys is not possible: up to 8 different keys, and a threshold of 1 to their number")
    })
}

fn make_targets(args: &TargetsArgs, now: UnixMs) -> anyhow::Result<()> {
    let mut hashes = Vec::new();
    for path in &args.manifests {
        let bytes = read_manifest(path)?;
        UnverifiedManifest::parse(&bytes)
            .and_then(|unverified| unverified.claimed().map(drop))
            .with_context(|| format!("the manifest {}", path.display()))?;
        hashes.push(sha256(&bytes));
    }
    hashes.sort_unstable();
    hashes.dedup();
    let manifests = heapless_of(&hashes)?;
    let targets = Targets { version: args.number, expires: now.plus(args.valid_for), manifests };
    let mut content = [0; Targets::CONTENT_MAX];
    let length = targets.write(&mut content)?;
    sign(KeyKind::Targets, &content[..length], &args.keys, &args.output)
}

fn heapless_of<T: Clone, const N: usize>(items: &[T]) -> anyhow::Result<heapless::Vec<T, N>> {
    heapless::Vec::from_slice(items).map_err(|_| {
        anyhow!("{} manifests are more than the {N} that are offered at a time", items.len())
    })
}

fn make_timestamp(args: &TimestampArgs, now: UnixMs) -> anyhow::Result<()> {
    let bytes = read(&args.targets)?;
    let targets = document(&args.targets, &bytes)
        .and_then(|document| known(&args.targets, Targets::read(document.claimed_content())))?;
    let timestamp = Timestamp {
        version: args.number,
        expires: now.plus(args.valid_for),
        targets_version: targets.version,
        targets: sha256(&bytes),
    };
    let mut content = [0; Timestamp::CONTENT_MAX];
    let length = timestamp.write(&mut content)?;
    sign(KeyKind::Timestamp, &content[..length], &args.keys, &args.output)
}

/// Signs a content with keys of one kind.
fn sign(kind: KeyKind, content: &[u8], keys: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let mut signatures = Vec::new();
    for path in keys {
        let key = key_file::read_secret(path, kind)?;
        signatures.push(signature(kind, &key, content)?);
    }
    write(content, signatures, output)
}

fn signature(kind: KeyKind, key: &SignatureKey, content: &[u8]) -> anyhow::Result<Signature> {
    let purpose = match kind {
        KeyKind::Root => Root::PURPOSE,
        KeyKind::Targets => Targets::PURPOSE,
        KeyKind::Timestamp => Timestamp::PURPOSE,
        KeyKind::Device => bail!("a device key signs no such document"),
    };
    Signature::new(key, purpose, content).context("signing the document")
}

fn write(content: &[u8], mut signatures: Vec<Signature>, output: &Path) -> anyhow::Result<()> {
    signatures.sort_unstable();
    signatures.dedup();
    let mut file = [0; COSIGNED_MAX];
    let length = assemble(content, &mut signatures, &mut file).context("signing the document")?;
    // A key that is named twice with different signatures, or too many keys.
    UnverifiedCosigned::parse(&file[..length]).context("signing the document")?;
    write_whole(output, &file[..length])
        .with_context(|| format!("writing {}", output.display()))?;
    let count = signatures.len();
    writeln!(io::stderr(), "{} has {count} signatures", output.display())?;
    Ok(())
}

fn cosign(args: &CosignArgs) -> anyhow::Result<()> {
    let bytes = read(&args.document)?;
    let document = document(&args.document, &bytes)?;
    let content = document.claimed_content();
    let (kind, key) = key_file::read_any_secret(&args.key)?;
    let is_its = match kind {
        KeyKind::Root => Root::read(content).is_some(),
        KeyKind::Targets => Targets::read(content).is_some(),
        KeyKind::Timestamp => Timestamp::read(content).is_some(),
        KeyKind::Device => false,
    };
    if !is_its {
        let (kind, shown) = (kind.as_str(), args.document.display());
        bail!("{} is a {kind} key, and {shown} is not what such a key signs", args.key.display());
    }
    let mut signatures: Vec<Signature> = document.signatures().collect();
    signatures.push(signature(kind, &key, content)?);
    write(content, signatures, args.output.as_ref().unwrap_or(&args.document))
}

fn verify(args: &VerifyArgs, now: UnixMs) -> anyhow::Result<()> {
    let (first, next) = args.roots.split_first().context("at least one root")?;
    let mut trust =
        Trust::new(&read(first)?).with_context(|| format!("the root {}", first.display()))?;
    for path in next {
        trust.replace_root(&read(path)?).with_context(|| format!("the root {}", path.display()))?;
    }
    let (timestamp, targets) = (read(&args.timestamp)?, read(&args.targets)?);
    let current = trust
        .refresh(&timestamp, &targets, Some(now))
        .context("checking timestamp and targets")
        .with_hint(|| "sign what has expired again, and give all roots in their order")?;
    for path in &args.manifests {
        let manifest = read_manifest(path)?;
        let checked = current.manifest(&manifest);
        let manifest = checked.with_context(|| format!("the manifest {}", path.display()))?;
        if now >= manifest.expires {
            bail!("the manifest {} expired at {}", path.display(), instant(manifest.expires)?);
        }
        let (version, hardware) = (manifest.version, manifest.hardware);
        writeln!(io::stdout(), "version {version} for {hardware} may be offered")?;
    }
    let version = trust.root().version;
    if let Standing::Fresh(until) = trust.standing(Some(now)) {
        let until = instant(until)?;
        writeln!(io::stdout(), "root {version}, targets and timestamp hold until {until}")?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_at_most(path, COSIGNED_MAX).with_context(|| format!("reading {}", path.display()))
}

fn document<'a>(path: &Path, bytes: &'a [u8]) -> anyhow::Result<UnverifiedCosigned<'a>> {
    UnverifiedCosigned::parse(bytes).with_context(|| path.display().to_string())
}

fn known<T>(path: &Path, content: Option<T>) -> anyhow::Result<T> {
    content.ok_or_else(|| anyhow!("{} is another document", path.display()))
}
