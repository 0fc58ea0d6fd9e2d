//! Our own keys and images, with openssl as the other side where it is installed.

use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding as _};
use ecowatt_original_firmware::{
    FirmwareKey, KeyError, PrepareError, Recipe, Scheme, SigningKey, VerificationKey, check,
    header, is_version, prepare,
};

fn recipe(scheme: Scheme) -> Recipe<'static> {
    Recipe { version: "2.0.0", scheme, iv: [7; 16], timestamp: "2026-11-21T08:00:58" }
}

#[test]
fn images_of_every_length_come_back_under_both_schemes() {
    let signing = SigningKey::generate().unwrap();
    let verification = signing.verification_key();
    let firmware = FirmwareKey::generate().unwrap();
    for scheme in [Scheme::Pkcs1v15, Scheme::Pss] {
        for length in [1, 15, 16, 17, 2_031, 2_032, 2_048] {
            let image: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let made = prepare(&image, &recipe(scheme), &signing, &firmware).unwrap();
            assert_eq!(made.encrypted.len(), (length / 16 + 1) * 16);
            let checked = check(&made.manifest, &made.encrypted, &verification, &firmware);
            assert_eq!(checked, Ok((image, scheme)), "{length}");
        }
    }
}

#[test]
fn impossible_images_and_versions_are_refused() {
    let (signing, firmware) = (SigningKey::generate().unwrap(), FirmwareKey::generate().unwrap());
    let made = prepare(&[], &recipe(Scheme::Pss), &signing, &firmware);
    assert!(matches!(made, Err(PrepareError::Empty)));
    for version in ["", "..", "../1", ".1", "-1", "1/2", "1 2", "1\u{e9}", &"1".repeat(33)] {
        assert!(!is_version(version), "{version}");
        let recipe = Recipe { version, ..recipe(Scheme::Pss) };
        let made = prepare(&[0xe9], &recipe, &signing, &firmware);
        assert!(matches!(made, Err(PrepareError::Version(_))), "{version}");
    }
    for version in ["1", "1.0.4", "v2", "1.0.0-rc.1+build_7"] {
        assert!(is_version(version), "{version}");
    }
}

#[test]
fn keys_are_read_back_and_others_are_refused() {
    let signing = SigningKey::generate().unwrap();
    let again = SigningKey::from_pem(&signing.to_pem()).unwrap();
    assert_eq!(again.verification_key(), signing.verification_key());
    let public = signing.verification_key().to_pem();
    assert_eq!(VerificationKey::from_pem(&public).unwrap(), signing.verification_key());
    assert!(matches!(SigningKey::from_pem(&public), Err(KeyError::PrivatePem)));
    assert!(matches!(VerificationKey::from_pem("nonsense"), Err(KeyError::PublicPem)));
    assert!(matches!(FirmwareKey::from_bytes(&[0; 31]), Err(KeyError::Length(31))));
}

#[test]
fn the_header_compiles_and_has_the_keys() {
    let verification = SigningKey::generate().unwrap().verification_key();
    let firmware = FirmwareKey::from_bytes(&[0xab; 32]).unwrap();
    let chunk_key = "0123456789abcdef".repeat(4);
    let text = header(&verification, &firmware, &chunk_key);
    assert_eq!(text.matches("0xAB,").count(), 32);
    assert!(text.contains(&format!("\"{chunk_key}\"")) && text.contains("HMAC_PSK_SIZE 64"));
    for line in verification.to_pem().lines() {
        assert!(text.contains(&format!("\"{line}\\n\"")));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.h");
    std::fs::write(&path, text.as_bytes()).unwrap();
    let program = format!(
        "#include \"{}\"\n#include \"{0}\"\n#include <stdio.h>\n\
         int main(void) {{ fputs(SERVER_PUBLIC_KEY, stdout); return AES_FIRMWARE_KEY[0] != 0xab || HMAC_PSK[0] != '0'; }}\n",
        path.display()
    );
    let source = folder.path().join("it.c");
    std::fs::write(&source, program).unwrap();
    let binary = folder.path().join("it");
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Werror"]).arg(&source).arg("-o").arg(&binary);
    let Ok(built) = compiler.output() else { return eprintln!("no C compiler: not compiled") };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = Command::new(&binary).output().unwrap();
    assert!(said.status.success());
    assert_eq!(String::from_utf8(said.stdout).unwrap(), verification.to_pem());
}

#[test]
fn openssl_reads_our_keys_and_we_read_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let Some(()) = openssl(folder.path(), &["genrsa", "-traditional", "-out", "old.pem", "2048"])
    else {
        return eprintln!("no openssl: not compared");
    };
    openssl(folder.path(), &["genrsa", "-out", "small.pem", "1024"]).unwrap();
    openssl(folder.path(), &["rsa", "-in", "old.pem", "-pubout", "-out", "public.pem"]).unwrap();
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let small = SigningKey::from_pem(&read("small.pem"));
    assert!(matches!(small, Err(KeyError::Bits(1_024))));
    let old = SigningKey::from_pem(&read("old.pem")).unwrap();
    assert_eq!(old.verification_key().to_pem(), read("public.pem"));

    std::fs::write(at("image"), b"\xe9 an image").unwrap();
    let firmware = FirmwareKey::generate().unwrap();
    for (scheme, options) in [
        (Scheme::Pkcs1v15, &[][..]),
        (Scheme::Pss, &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:auto"][..]),
    ] {
        let made = prepare(b"\xe9 an image", &recipe(scheme), &old, &firmware).unwrap();
        let signature = Base64::decode_vec(&made.manifest.signature).unwrap();
        std::fs::write(at("signature"), signature).unwrap();
        let mut args = vec!["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature"];
        args.extend(options);
        args.push("image");
        openssl(folder.path(), &args).unwrap();
    }
}

/// Runs openssl in a folder; `None` if it is not installed.
fn openssl(folder: &Path, args: &[&str]) -> Option<()> {
    let output = Command::new("openssl").args(args).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}
