//! Files with signature keys: PEM, as other tools know it (RFC 7468, RFC 8410), under a line that
//! names the key and what it is for.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use ecowatt_envelope::signed::{PublicKey, SignatureKey};

use crate::hint::WithHint as _;

/// What a key signs. A key of one kind is refused for the work of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// Says which keys count. Keep it offline; it is needed a few times a year.
    Root,
    /// Signs images, and the list of those that count. Keep it offline.
    Targets,
    /// Says which list is the newest. It is on a server.
    Timestamp,
    /// Belongs to one device.
    Device,
}

impl KeyKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
            Self::Device => "device",
        }
    }
}

/// The structure around the 32 bytes of a key (RFC 8410 sections 4 and 7, as DER), and its label.
struct Form {
    label: &'static str,
    head: &'static [u8],
}

const SECRET: Form = Form {
    label: "PRIVATE KEY",
    head: &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20],
};
const PUBLIC: Form =
    Form { label: "PUBLIC KEY", head: &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0] };

/// Largest key file that is read; ours have less than 200 bytes.
const FILE_MAX: u64 = 4096;

/// Writes a key to `path`, which only its owner may read, and its public half to `path` with
/// `.pub`; returns the second path. Existing files are left alone.
pub(crate) fn create(path: &Path, kind: KeyKind, key: &SignatureKey) -> anyhow::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let public_path = PathBuf::from(name);
    let title = format!("ecowatt {} key {}", kind.as_str(), key.public().id());
    write_new(path, 0o600, &text(&title, &SECRET, key.expose()))?;
    let public = text(&title, &PUBLIC, key.public().as_bytes());
    if let Err(error) = write_new(&public_path, 0o644, &public) {
        // A key whose public half is missing is of no use, and would stop the next attempt.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(public_path)
}

/// Reads a secret key of the kind that is needed.
pub(crate) fn read_secret(path: &Path, kind: KeyKind) -> anyhow::Result<SignatureKey> {
    Ok(SignatureKey::new(&read(path, kind, &SECRET)?))
}

/// Reads a secret key of any kind.
pub(crate) fn read_any_secret(path: &Path) -> anyhow::Result<(KeyKind, SignatureKey)> {
    let (kind, bytes) = read_any(path, &SECRET)?;
    Ok((kind, SignatureKey::new(&bytes)))
}

/// Reads a public key of the kind that is needed.
pub(crate) fn read_public(path: &Path, kind: KeyKind) -> anyhow::Result<PublicKey> {
    let bytes = read(path, kind, &PUBLIC)?;
    PublicKey::new(&bytes).with_context(|| format!("the key in {}", path.display()))
}

fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let creating = || format!("creating {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(creating)
        .with_hint(|| "give a file that does not exist; a key is never overwritten")?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(creating)
}

fn read(path: &Path, kind: KeyKind, form: &Form) -> anyhow::Result<[u8; 32]> {
    let (found, bytes) = read_any(path, form)?;
    if found != kind {
        let (found, kind) = (found.as_str(), kind.as_str());
        bail!("{} is a {found} key, and this takes a {kind} key", path.display());
    }
    Ok(bytes)
}

fn read_any(path: &Path, form: &Form) -> anyhow::Result<(KeyKind, [u8; 32])> {
    let reading = || format!("reading the key {}", path.display());
    let metadata = fs::metadata(path).with_context(reading)?;
    if metadata.len() > FILE_MAX {
        bail!("{} has {} bytes and is not a key", path.display(), metadata.len());
    }
    let text = fs::read_to_string(path).with_context(reading)?;
    parse(&text, form)
        .ok_or_else(|| {
            anyhow!("{} is not a {} of `ecowatt keys generate`", path.display(), form.name())
        })
        .with_hint(|| form.hint())
}

impl Form {
    fn name(&self) -> String {
        self.label.to_lowercase()
    }

    fn hint(&self) -> String {
        let (wanted, other) =
            if self.label == PUBLIC.label { ("FILE.pub", "FILE") } else { ("FILE", "FILE.pub") };
        format!(
            "`ecowatt keys generate -o FILE` writes FILE and FILE.pub; give {wanted}, not {other}"
        )
    }
}

fn text(title: &str, form: &Form, key: &[u8; 32]) -> String {
    let der = [form.head, key].concat();
    let (label, base64) = (form.label, encode(&der));
    format!("{title}\n-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// Returns kind and bytes of a key.
fn parse(text: &str, form: &Form) -> Option<(KeyKind, [u8; 32])> {
    let mut lines = text.lines().map(str::trim_end);
    let kind = lines.next()?.strip_prefix("ecowatt ")?.split_once(' ')?.0;
    let kind = KeyKind::value_variants().iter().find(|known| known.as_str() == kind)?;
    let (begin, end) =
        (format!("-----BEGIN {}-----", form.label), format!("-----END {}-----", form.label));
    if lines.next()? != begin {
        return None;
    }
    let der = decode(lines.next()?)?;
    let is_complete = lines.next()? == end && lines.all(str::is_empty);
    let key = der.strip_prefix(form.head)?.try_into().ok()?;
    is_complete.then_some((*kind, key))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 with padding (RFC 4648 section 4).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = group.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        let value = value << (8 * (3 - group.len()));
        for place in 0..4 {
            let symbol = usize::try_from((value >> (18 - 6 * place)) & 63).unwrap_or(0);
            text.push(if place <= group.len() { char::from(ALPHABET[symbol]) } else { '=' });
        }
    }
    text
}

/// The inverse of [`encode`]; other spellings of the same bytes are refused.
fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut value, mut bits) = (0u32, 0);
    for symbol in symbols.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == symbol)?;
        value = (value << 6) | u32::try_from(digit).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((value >> bits) & 0xff).ok()?);
        }
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl pkey` and `openssl pkey -pubout` of the key with the seed 0, 1, … 31.
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
";
    const OPENSSL_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
-----END PUBLIC KEY-----
";
    const TITLE: &str = "ecowatt targets key 56475aa75463474c";

    fn seed() -> [u8; 32] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn keys_are_what_openssl_writes_under_a_title() {
        let public = *SignatureKey::new(&seed()).public().as_bytes();
        for (form, key, openssl) in [(SECRET, seed(), OPENSSL), (PUBLIC, public, OPENSSL_PUBLIC)] {
            let text = text(TITLE, &form, &key);
            assert_eq!(text, format!("{TITLE}\n{openssl}"));
            assert_eq!(parse(&text, &form), Some((KeyKind::Targets, key)));
            assert_eq!(parse(openssl, &form), None, "without a kind");
        }
        assert_eq!(parse(&format!("{TITLE}\n{OPENSSL}"), &PUBLIC), None);
    }

    #[test]
    fn damaged_keys_are_refused() {
        let text = text(TITLE, &SECRET, &seed());
        for at in 0..text.len() - 1 {
            assert_eq!(parse(&text[..at], &SECRET), None, "{at}");
        }
        for (from, to) in
            [("targets", "target"), ("MC4C", "MC4D"), ("Hh4f", "Hh4"), ("---\n", "--\n")]
        {
            let damaged = text.replace(from, to);
            assert!(damaged == text || parse(&damaged, &SECRET).is_none(), "{from}");
        }
    }

    #[test]
    fn base_64_has_one_spelling() {
        for (bytes, expected) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")]
        {
            assert_eq!(encode(bytes), expected);
            assert_eq!(decode(expected).as_deref(), Some(bytes));
        }
        for bad in ["Zh==", "Zg=", "Zg", "Zm9", "Z", "====", "Zm9v=", "Zm 9"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
