//! The corpora in `fuzz/corpus`, without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use ecowatt_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn corpora_hold() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(fuzz().join("corpus").join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz().join("corpus")), targets);
}

/// Damage to what the corpora hold: every seed cut short anywhere, and with each byte changed.
#[test]
fn damaged_corpora_hold() {
    for (name, target) in TARGETS {
        for entry in std::fs::read_dir(fuzz().join("corpus").join(name)).unwrap() {
            let mut data = std::fs::read(entry.unwrap().path()).unwrap();
            for at in 0..data.len().min(400) {
                target(&data[..at]);
                for change in [0x01, 0x80, 0xff] {
                    data[at] ^= change;
                    target(&data);
                    data[at] ^= change;
                }
            }
        }
    }
}
