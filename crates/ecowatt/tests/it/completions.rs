//! `ecowatt completions` in the shells.

use std::process::Command;

use crate::rig::run::ecowatt;

#[test]
fn script_of_every_shell_knows_the_verbs_and_nothing_hidden() {
    for shell in ["bash", "zsh", "fish"] {
        let said = ecowatt(&["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{shell}");
        for word in ["device", "enrol", "time-zone", "completions"] {
            assert!(said.out.contains(word), "{shell}: {word}");
        }
        for word in ["token-from-environment", "url-from-environment", "notify-socket"] {
            assert!(!said.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(ecowatt(&["completions", "cmd.exe"]).code, Some(2));
}

#[test]
fn bash_completes_verbs_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("ecowatt");
    std::fs::write(&script, ecowatt(&["completions", "bash"]).out).unwrap();
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let (word, before) = (words[last], words[last - 1]);
        let text = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={last}; _ecowatt ecowatt '{word}' '{before}'; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.join(" ")
        );
        let output = Command::new("bash").args(["-c", &text]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["ecowatt", "dev"]), "device\n");
    assert_eq!(complete(&["ecowatt", "device", "en"]), "enrol\n");
    assert!(complete(&["ecowatt", "device", "enrol", "--tim"]).contains("--time-zone"));
}
