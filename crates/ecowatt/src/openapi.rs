//! `ecowatt openapi`: the document that describes the operator API.

use std::io::{self, Write as _};

use clap::Args;

/// Print the OpenAPI document of the operator API.
#[derive(Debug, Args)]
pub(crate) struct OpenapiArgs {}

/// Prints it.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(_: &OpenapiArgs) -> anyhow::Result<()> {
    io::stdout().write_all(ecowatt_server::openapi().as_bytes())?;
    Ok(())
}
