//! `ecowatt check-config` on files with many problems.

use crate::rig::run::ecowatt;

#[test]
fn every_problem_of_every_file_is_named_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (agent, server, missing) = (path("agent.toml"), path("server.toml"), path("missing.toml"));
    let text = "server = 'https://x'\ndta = 'x'\n[[inverter]]\ntransport = 'tcp:x'\nunit = 'a'\n";
    std::fs::write(&agent, text).unwrap();
    std::fs::write(&server, "[server]\nlisten = 'here'\nsilent_after = '1s'\n").unwrap();
    let said =
        ecowatt(&["check-config", "--agent", &agent, "--agent", &missing, "--server", &server]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    let expected = [
        format!("{agent}: 6 problems:"),
        "  data: must be given".into(),
        "  line 1: server: ".into(),
        "  line 2: dta: ".into(),
        "  line 3: inverter[0].profile: must be given".into(),
        "  line 4: inverter[0].transport: ".into(),
        "  line 5: inverter[0].unit: ".into(),
        format!("{missing}: cannot be read: "),
        format!("{server}: 2 problems:"),
        "  line 2: server.listen: ".into(),
        "  line 3: server.silent_after: ".into(),
        "error: 3 files have problems".into(),
    ];
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said:?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line} is not {expected}");
    }
}

#[test]
fn value_in_place_of_a_table_is_reported_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, text, named) in [
        ("--server", "server = 'x'\n", "a table, such as [server]"),
        ("--agent", "inverter = ['x']\n", "a table, such as [[inverter]]"),
        ("--agent", "upload = 5\n", "a table, such as [upload]"),
        ("--agent", "spool = true\n", "a table, such as [spool]"),
    ] {
        let path = folder.path().join("file.toml");
        std::fs::write(&path, text).unwrap();
        let said = ecowatt(&["check-config", kind, path.to_str().unwrap()]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(named) && !said.err.contains("struct"), "{text}: {said:?}");
    }
}
