//! `ecowatt keys generate` and `ecowatt artifact sign|verify`, without a server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::rig::run::{Said, ecowatt};

/// A folder with an image, a targets key and a manifest.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let image: Vec<u8> = (0..30_000u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(desk.path("image"), image).unwrap();
        let made = desk.generate("targets", "key");
        assert_eq!((made.code, made.out.as_str()), (Some(0), ""), "{made:?}");
        let signed = desk.sign("1.4.0", "manifest", &[]);
        assert_eq!((signed.code, signed.out.as_str()), (Some(0), ""), "{signed:?}");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn generate(&self, kind: &str, name: &str) -> Said {
        ecowatt(&["keys", "generate", "--kind", kind, "-o", &self.text(name)])
    }

    fn sign(&self, version: &str, output: &str, more: &[&str]) -> Said {
        self.sign_with("key", version, output, more)
    }

    fn sign_with(&self, key: &str, version: &str, output: &str, more: &[&str]) -> Said {
        let (image, key, output) = (self.text("image"), self.text(key), self.text(output));
        let mut args = vec!["artifact", "sign", &image, "--version", version];
        args.extend(["--hardware", "esp32c3", "--key", &key, "-o", &output]);
        args.extend(more);
        ecowatt(&args)
    }

    fn verify(&self, manifest: &str, key: &str, more: &[&str]) -> Said {
        let (image, manifest, key) = (self.text("image"), self.text(manifest), self.text(key));
        let mut args = vec!["artifact", "verify", &image, &manifest, "--key", &key];
        args.extend(more);
        ecowatt(&args)
    }

    /// Checks that verification fails for a reason that contains `reason`.
    fn refused(&self, manifest: &str, key: &str, reason: &str) {
        let said = self.verify(manifest, key, &[]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.err.starts_with("error: ") && said.err.contains(reason), "{reason}: {said:?}");
    }
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

#[test]
fn signed_image_is_verified() {
    let desk = Desk::new();
    let said = desk.verify("manifest", "key.pub", &["--hardware", "esp32c3"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(
        said.out.starts_with("version 1.4.0 for esp32c3, 30000 bytes, valid until "),
        "{said:?}"
    );
    let other = desk.verify("manifest", "key.pub", &["--hardware", "esp32c6"]);
    assert_eq!(other.code, Some(1));
    assert!(other.err.contains("is for esp32c3, not for esp32c6"), "{other:?}");
}

#[test]
fn secret_key_is_private_and_no_file_is_overwritten() {
    let desk = Desk::new();
    let mode = |name| fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key"), 0o600);
    assert_eq!(mode("key.pub"), 0o644);
    let before = fs::read(desk.path("key")).unwrap();
    let again = desk.generate("root", "key");
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("hint: ") && again.err.contains("never overwritten"), "{again:?}");
    assert_eq!(fs::read(desk.path("key")).unwrap(), before);
    // If only the public file is in the way, no secret half is left behind.
    fs::write(desk.path("half.pub"), "mine").unwrap();
    assert_eq!(desk.generate("root", "half").code, Some(1));
    assert!(!desk.path("half").exists());
    assert_eq!(fs::read(desk.path("half.pub")).unwrap(), b"mine");
}

#[test]
fn keys_differ_and_have_one_purpose() {
    let desk = Desk::new();
    for kind in ["root", "device", "targets"] {
        assert_eq!(desk.generate(kind, kind).code, Some(0));
    }
    for kind in ["root", "device"] {
        let said = desk.sign_with(kind, "1.5.0", "other", &[]);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains(&format!("is a {kind} key, and this takes a targets key")));
        desk.refused("manifest", &format!("{kind}.pub"), "this takes a targets key");
    }
    assert!(!desk.path("other").exists());
    assert_ne!(fs::read(desk.path("key")).unwrap(), fs::read(desk.path("targets")).unwrap());
    desk.refused("manifest", "targets.pub", "which is not one of the expected keys");
    // The halves are not mixed up, and the secret one is not shown.
    desk.refused("manifest", "key", "hint: ");
    let said = desk.sign_with("key.pub", "1.5.0", "other", &[]);
    assert!(said.code == Some(1) && said.err.contains("give FILE, not FILE.pub"), "{said:?}");
    assert_eq!(ecowatt(&["keys", "generate", "--kind", "master", "-o", "x"]).code, Some(2));
}

#[test]
fn either_of_two_keys_may_have_signed() {
    let desk = Desk::new();
    assert_eq!(desk.generate("targets", "next").code, Some(0));
    let next = desk.text("next.pub");
    assert_eq!(desk.verify("manifest", "key.pub", &["--key", &next]).code, Some(0));
    assert_eq!(desk.sign_with("next", "1.5.0", "second", &[]).code, Some(0));
    assert_eq!(desk.verify("second", "key.pub", &["--key", &next]).code, Some(0));
    desk.refused("second", "key.pub", "not one of the expected keys");
}

#[test]
fn every_bit_of_the_manifest_counts() {
    let desk = Desk::new();
    let manifest = desk.path("manifest");
    let bits = fs::read(&manifest).unwrap().len() * 8;
    // Every bit is tried in `artifact`; here it is the way from the file to the exit code.
    for bit in (0..bits).step_by(37) {
        flip(&manifest, bit);
        assert_eq!(desk.verify("manifest", "key.pub", &[]).code, Some(1), "bit {bit}");
        flip(&manifest, bit);
    }
    assert_eq!(desk.verify("manifest", "key.pub", &[]).code, Some(0));
}

#[test]
fn image_must_be_the_one_that_was_signed() {
    let desk = Desk::new();
    let image = desk.path("image");
    for bit in [0, 7, 8 * 4096, 8 * 30_000 - 1] {
        flip(&image, bit);
        desk.refused("manifest", "key.pub", "its SHA-256 differs");
        flip(&image, bit);
    }
    let whole = fs::read(&image).unwrap();
    fs::write(&image, &whole[..29_999]).unwrap();
    desk.refused("manifest", "key.pub", "has 29999 bytes, and the image in the manifest 30000");
    fs::write(&image, [&whole[..], &[0]].concat()).unwrap();
    desk.refused("manifest", "key.pub", "has 30001 bytes");
    fs::write(&image, []).unwrap();
    desk.refused("manifest", "key.pub", "is empty");
    assert_eq!(desk.sign("1.5.0", "other", &[]).code, Some(1));
    fs::remove_file(&image).unwrap();
    desk.refused("manifest", "key.pub", "reading the image");
}

#[test]
fn manifest_must_be_one() {
    let desk = Desk::new();
    let manifest = fs::read(desk.path("manifest")).unwrap();
    for bad in [&manifest[..manifest.len() - 1], b"", b"{}", &[0; 100_000]] {
        fs::write(desk.path("bad"), bad).unwrap();
        desk.refused("bad", "key.pub", "the manifest");
    }
    // Not a file that ends.
    let said = ecowatt(&[
        "artifact",
        "verify",
        &desk.text("image"),
        "/dev/zero",
        "--key",
        &desk.text("key.pub"),
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
}

#[test]
fn manifest_of_another_image_is_refused() {
    let desk = Desk::new();
    let before = fs::read(desk.path("image")).unwrap();
    fs::write(desk.path("image"), b"another").unwrap();
    assert_eq!(desk.sign("1.4.1", "swapped", &[]).code, Some(0));
    fs::write(desk.path("image"), before).unwrap();
    desk.refused("swapped", "key.pub", "and the image in the manifest 7");
}

#[test]
fn manifest_expires() {
    let desk = Desk::new();
    assert_eq!(desk.sign("1.4.0", "short", &["--valid-for", "0s"]).code, Some(0));
    desk.refused("short", "key.pub", "expired at ");
}

#[test]
fn arguments_are_checked() {
    let desk = Desk::new();
    for (version, more) in [
        ("1.4", &[][..]),
        ("1.4.0-rc1", &[]),
        ("1.4.0", &["--minimum-version", "1"]),
        ("1.4.0", &["--profile", "a b"]),
        ("1.4.0", &["--piece", "17"]),
        ("1.4.0", &["--valid-for", "soon"]),
    ] {
        assert_eq!(desk.sign(version, "other", more).code, Some(2), "{version} {more:?}");
    }
    let more = ["--profile", "sungrow/sg", "--profile", "huawei/sun2000", "--piece", "16"];
    assert_eq!(desk.sign("1.4.0", "other", &more).code, Some(0));
    assert_eq!(desk.verify("other", "key.pub", &[]).code, Some(0));
}
