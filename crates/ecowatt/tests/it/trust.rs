//! `ecowatt trust`: a ceremony from the first keys to a replaced root, and what is refused in it.

use std::fs;

use crate::rig::run::{Said, ecowatt};

/// A folder in which all files are; arguments that begin with `@` are files in it.
struct Room(tempfile::TempDir);

impl Room {
    /// Two root keys of three must sign, two targets keys of two, one timestamp key.
    fn new() -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        for (kind, names) in [
            ("root", &["r1", "r2", "r3", "r4"][..]),
            ("targets", &["t1", "t2", "t3"]),
            ("timestamp", &["s1", "s2"]),
        ] {
            for name in names {
                room.works(&["keys", "generate", "--kind", kind, "-o", &format!("@{name}")]);
            }
        }
        fs::write(room.path("image"), b"a small program").unwrap();
        room.sign("1.4.0", "@m1");
        room
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Said {
        let of = |arg: &&str| arg.strip_prefix('@').map_or((*arg).to_owned(), |at| self.path(at));
        let args: Vec<String> = args.iter().map(of).collect();
        ecowatt(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn works(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said
    }

    fn fails(&self, args: &[&str], reason: &str) {
        let said = self.run(args);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}: {said:?}");
        assert!(said.err.contains(reason), "{reason}: {said:?}");
    }

    fn sign(&self, version: &str, output: &str) {
        let image = ["artifact", "sign", "@image", "--version", version, "--hardware", "test"];
        self.works(&[&image[..], &["--key", "@t1", "-o", output]].concat());
    }

    fn root(&self, number: &str, keys: &[&str], stamp: &str, output: &str) -> Said {
        let mut args = vec!["trust", "root", "--number", number, "--root-threshold", "2"];
        for key in ["@r1.pub", "@r2.pub", "@r3.pub"] {
            args.extend(["--root-key", key]);
        }
        args.extend(["--targets-key", "@t1.pub", "--targets-key", "@t2.pub"]);
        args.extend(["--targets-threshold", "2", "--timestamp-key", stamp, "-o", output]);
        for key in keys {
            args.extend(["--key", key]);
        }
        self.run(&args)
    }

    fn targets(&self, number: &str, manifests: &[&str], output: &str) {
        let args = ["trust", "targets", "--number", number, "--key", "@t1", "-o", output];
        self.works(&[&args[..], manifests].concat());
        // The second key is somewhere else.
        self.works(&["trust", "cosign", output, "--key", "@t2"]);
    }

    fn timestamp(&self, number: &str, targets: &str, key: &str, output: &str) {
        let args = ["trust", "timestamp", targets, "--number", number];
        self.works(&[&args[..], &["--key", key, "-o", output]].concat());
    }

    /// Everything up to a first timestamp.
    fn ready() -> Self {
        let room = Self::new();
        assert_eq!(room.root("1", &["@r1"], "@s1.pub", "@root1").code, Some(0));
        room.works(&["trust", "cosign", "@root1", "--key", "@r3"]);
        room.targets("1", &["@m1"], "@targets1");
        room.timestamp("1", "@targets1", "@s1", "@stamp1");
        room
    }
}

/// The arguments that check these documents.
fn check<'a>(roots: &[&'a str], targets: &'a str, timestamp: &'a str) -> Vec<&'a str> {
    let mut args = vec!["trust", "verify", "--targets", targets, "--timestamp", timestamp];
    roots.iter().for_each(|root| args.extend(["--root", root]));
    args
}

#[test]
fn ceremony_ends_with_an_image_that_may_be_offered() {
    let room = Room::ready();
    let said = room.works(&[&check(&["@root1"], "@targets1", "@stamp1")[..], &["@m1"]].concat());
    assert!(said.out.starts_with("version 1.4.0 for test may be offered\nroot 1, "), "{said:?}");
    // Another manifest of the same image is not on the list.
    room.sign("1.4.1", "@m2");
    let args = [&check(&["@root1"], "@targets1", "@stamp1")[..], &["@m2"]].concat();
    let said = room.run(&args);
    assert!(said.code == Some(1) && said.err.contains("not among the targets"), "{said:?}");
}

#[test]
fn thresholds_count() {
    let room = Room::new();
    assert_eq!(room.root("1", &["@r1"], "@s1.pub", "@root1").code, Some(0));
    room.targets("1", &["@m1"], "@targets1");
    room.timestamp("1", "@targets1", "@s1", "@stamp1");
    let args = check(&["@root1"], "@targets1", "@stamp1");
    room.fails(&args, "1 of the expected keys instead of 2");
    // The same key again, and a root key that the root does not name, add nothing.
    room.works(&["trust", "cosign", "@root1", "--key", "@r1"]);
    room.works(&["trust", "cosign", "@root1", "--key", "@r4"]);
    room.fails(&args, "1 of the expected keys instead of 2");
    room.works(&["trust", "cosign", "@root1", "--key", "@r2"]);
    room.works(&args);
}

#[test]
fn timestamp_key_is_replaced_by_the_next_root() {
    let room = Room::ready();
    assert_eq!(room.root("2", &["@r1", "@r2"], "@s2.pub", "@root2").code, Some(0));
    room.fails(&check(&["@root1", "@root2"], "@targets1", "@stamp1"), "0 of the expected keys");
    room.timestamp("1", "@targets1", "@s2", "@stamp2");
    room.works(&check(&["@root1", "@root2"], "@targets1", "@stamp2"));
    room.fails(&check(&["@root1", "@root1"], "@targets1", "@stamp1"), "root 1 does not follow");
    room.fails(&check(&["@root1"], "@targets1", "@stamp2"), "0 of the expected keys");
}

#[test]
fn documents_belong_together_and_expire() {
    let room = Room::ready();
    room.targets("2", &[], "@targets2");
    room.fails(&check(&["@root1"], "@targets2", "@stamp1"), "not those that the timestamp names");
    room.works(&[
        "trust",
        "timestamp",
        "@targets2",
        "--number",
        "2",
        "--key",
        "@s1",
        "--valid-for",
        "0s",
        "-o",
        "@stamp2",
    ]);
    room.fails(&check(&["@root1"], "@targets2", "@stamp2"), "the timestamp has expired");
}

#[test]
fn keys_and_documents_are_of_one_kind() {
    let room = Room::ready();
    room.fails(&["trust", "cosign", "@targets1", "--key", "@r1"], "not what such a key signs");
    room.fails(&["trust", "cosign", "@stamp1", "--key", "@t1"], "not what such a key signs");
    let said = room.root("2", &["@t1"], "@s1.pub", "@root2");
    assert!(said.code == Some(1) && said.err.contains("this takes a root key"), "{said:?}");
    let said = room.root("2", &["@r1"], "@t1.pub", "@root2");
    assert!(said.code == Some(1) && said.err.contains("this takes a timestamp key"), "{said:?}");
    room.fails(
        &["trust", "timestamp", "@root1", "--number", "2", "--key", "@s1", "-o", "@x"],
        "is another document",
    );
    room.fails(
        &["trust", "targets", "@image", "--number", "2", "--key", "@t1", "-o", "@x"],
        "not a signed document",
    );
    assert!(!std::path::Path::new(&room.path("x")).exists());
}
