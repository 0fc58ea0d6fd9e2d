//! `ecowatt original`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::rig::run::ecowatt;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/original/ota")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_image_of_the_originals_tool_is_intact_and_a_changed_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = recorded();
    let plain = folder.path().join("plain.bin");
    let base = ["original", "firmware", "check"];
    let keys = ["1.2.3", "--keys", text(&recorded)];
    let said =
        ecowatt(&[&base[..], &[text(&recorded)], &keys, &["--image", text(&plain)]].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("5000 bytes") && said.out.contains("pkcs1v15"), "{}", said.out);
    assert!(said.err.contains("0xe9"), "{}", said.err);
    let image = recorded.join("firmware_plain.bin");
    assert_eq!(std::fs::read(&plain).unwrap(), std::fs::read(image).unwrap());

    let changed = folder.path();
    let manifest = "firmware_1.2.3_manifest.json";
    std::fs::copy(recorded.join(manifest), changed.join(manifest)).unwrap();
    let name = "firmware_1.2.3_encrypted.bin";
    let mut bytes = std::fs::read(recorded.join(name)).unwrap();
    bytes[17] ^= 0x80;
    std::fs::write(changed.join(name), bytes).unwrap();
    let said = ecowatt(&[&base[..], &[text(changed)], &keys].concat());
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("SHA-256"), "{}", said.err);
}

#[test]
fn an_image_is_prepared_with_new_keys_and_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let said = ecowatt(&["original", "keys", text(&keys)]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for name in ["server_private_key.pem", "aes_firmware_key.bin", "keys.h"] {
        let mode = keys.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let private = std::fs::read(keys.join("server_private_key.pem")).unwrap();
    let again = ecowatt(&["original", "keys", text(&keys)]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("not overwritten"), "{}", again.err);
    assert_eq!(std::fs::read(keys.join("server_private_key.pem")).unwrap(), private);

    let image = folder.path().join("image.bin");
    std::fs::write(&image, [&[0xe9][..], &[0; 4_200]].concat()).unwrap();
    let out = folder.path().join("out");
    for (version, scheme) in [("1.0.5", "pkcs1v15"), ("1.0.6", "pss")] {
        let said = ecowatt(&[
            "original",
            "firmware",
            "prepare",
            text(&image),
            version,
            "--scheme",
            scheme,
            "--keys",
            text(&keys),
            "--out",
            text(&out),
        ]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(!said.err.contains("warning"), "{}", said.err);
        let said =
            ecowatt(&["original", "firmware", "check", text(&out), version, "--keys", text(&keys)]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.out.contains(scheme), "{}", said.out);
    }
}

#[test]
fn a_prepared_image_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    assert_eq!(ecowatt(&["original", "keys", text(&keys)]).code, Some(0));
    let recorded = recorded();
    std::fs::copy(recorded.join("aes_firmware_key.bin"), keys.join("aes_firmware_key.bin"))
        .unwrap();
    let out = folder.path().join("out");
    let image = recorded.join("firmware_plain.bin");
    // The initial vector and the time of the recorded manifest.
    let said = ecowatt(&[
        "original",
        "firmware",
        "prepare",
        text(&image),
        "1.2.3",
        "--keys",
        text(&keys),
        "--out",
        text(&out),
        "--iv",
        "91b4d5d8585663905fef58afdb8d58e6",
        "--timestamp",
        "2026-11-21T08:00:58.380948",
    ]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    let name = "firmware_1.2.3_encrypted.bin";
    assert_eq!(read(&out, name), read(&recorded, name));
    let manifest = |folder: &Path| {
        let mut it: serde_json::Value =
            serde_json::from_slice(&read(folder, "firmware_1.2.3_manifest.json")).unwrap();
        it["signature"].take();
        it
    };
    assert_eq!(manifest(&out), manifest(&recorded));
}

#[test]
fn a_version_that_leads_out_of_the_folder_is_refused() {
    let said = ecowatt(&["original", "firmware", "prepare", "image", "../../1"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("letters, digits"), "{}", said.err);
}

#[test]
fn keys_of_devices_differ_and_fit_the_enrolment() {
    let key = || ecowatt(&["original", "device-key"]).out.trim().to_owned();
    let (one, other) = (key(), key());
    assert_ne!(one, other);
    assert!(one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    let c = ecowatt(&["original", "device-key", "--c"]).out;
    assert!(c.starts_with("static const uint8_t PSK_HMAC[32]"), "{c}");
    assert_eq!(c.matches("0x").count(), 32);
}

/// Real inverter days: what a device of the original sends arrives exactly only while its packets
/// are short.
#[test]
fn the_benchmark_shows_what_arrives_of_the_originals_packets() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/pv/d2_midc_boulder_20181014.csv");
    let said = ecowatt(&["original", "bench", "--json", "--samples", "3,25", text(&file)]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |method: &str, samples: u64| {
        let is_it =
            |line: &&serde_json::Value| line["method"] == method && line["samples"] == samples;
        lines.iter().find(is_it).unwrap().clone()
    };
    let exact = |method, samples| line(method, samples)["exact"].as_f64().unwrap();
    assert!((exact("bitpack", 3) - 1.0).abs() < 1e-9);
    assert!(exact("semantic", 3) < 1e-9);
    // Packets of 25 samples are cut; only the rest of the file, five samples, fits.
    assert!(exact("bitpack", 25) < 0.001);
    let bytes = |method, samples| line(method, samples)["bytes"].as_u64().unwrap();
    assert!(bytes("smart", 3) <= bytes("bitpack", 3).min(bytes("dictionary", 3)));
    assert!(bytes("ecowatt", 25) < bytes("smart", 25));
}
