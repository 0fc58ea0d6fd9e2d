//! The project's own commands: test, ci, bench, crash, tidy.

fn main() {}
