//! Hints: what to do about an error, printed apart from it.

use std::error::Error;
use std::fmt;

use ecowatt_client::{ClientError, ControlError};
use ecowatt_store::OpenError;

/// An error with a hint. In a chain of causes it looks like the error itself.
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Adds a hint to an error: a command or a sentence that can be followed.
pub(crate) trait WithHint<T> {
    fn with_hint<H: Into<String>>(self, hint: impl FnOnce() -> H) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn with_hint<H: Into<String>>(self, hint: impl FnOnce() -> H) -> anyhow::Result<T> {
        self.map_err(|error| {
            anyhow::Error::new(Hinted { error: error.into(), hint: hint().into() })
        })
    }
}

/// Returns the hints for an error, the outermost first.
pub(crate) fn hints(error: &anyhow::Error) -> Vec<String> {
    let of_cause = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<Hinted>() {
        Some(hinted) => Some(hinted.hint.clone()),
        None => match cause.downcast_ref::<OpenError>() {
            Some(error) => of_store(error),
            None => match cause.downcast_ref::<ControlError>() {
                Some(error) => of_control(error),
                None => of_client(cause.downcast_ref::<ClientError>()?),
            },
        },
    };
    error.chain().filter_map(of_cause).collect()
}

/// What an operator can do about a folder that cannot be opened.
fn of_store(error: &OpenError) -> Option<String> {
    let OpenError::Gone { trace, .. } = error else { return None };
    let trace = trace.display();
    Some(format!(
        "put a backup in its place with `ecowatt store restore`; for an empty server, move {trace} away"
    ))
}

/// What can be done about a control port that does not answer.
fn of_control(error: &ControlError) -> Option<String> {
    let ControlError::Unreachable { .. } = error else { return None };
    let start = "`ecowatt inverter --control 127.0.0.1:1580`";
    Some(format!("{start} starts an inverter with a control port"))
}

/// What the flags of the operator's verbs can do about an error of the client.
fn of_client(error: &ClientError) -> Option<String> {
    let hint = match error {
        ClientError::NotTls { .. } => {
            "write `http://` in place of `https://`, or give the address of the server's TLS proxy"
        }
        ClientError::Refused { code, .. } if code == "past_days" => {
            "add `--keep-past-days` to accept this"
        }
        ClientError::Refused { .. }
        | ClientError::Foreign { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Answer(_)
        | ClientError::Url(_) => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn hint_is_found_under_contexts_and_changes_no_text() {
        let failed: anyhow::Result<()> = Err(anyhow!("taken").context("listening"));
        let error = failed.with_hint(|| "take another").context("starting").unwrap_err();
        assert_eq!(format!("{error:#}"), "starting: listening: taken");
        assert_eq!(hints(&error), ["take another"]);
        assert!(hints(&anyhow!("taken")).is_empty());
    }

    #[test]
    fn errors_of_the_client_have_hints_under_contexts() {
        let error = ClientError::NotTls { url: "https://x:1".into() };
        let error = anyhow::Error::new(error).context("listing devices");
        assert!(hints(&error)[0].contains("`http://`"));
    }
}
