//! The operator's verbs without what they need to reach a server.

use crate::run::ecowatt;

#[test]
fn verb_without_a_token_says_where_it_looked() {
    let said = ecowatt(&["device", "list"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("ecowatt token create --data DIR --role owner"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "\n").unwrap();
    let file = file.to_str().unwrap();
    // Nothing listens there, and nothing is asked.
    let said = ecowatt(&["device", "list", "--url", "http://127.0.0.1:1", "--token-file", file]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(file) && !said.err.contains("reach"), "{said:?}");
}
