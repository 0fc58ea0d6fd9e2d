//! Progress on standard error: a line for each fault, and a bar on a terminal.

use std::time::Duration;

use ecowatt_clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};

/// Standard error.
pub(crate) struct Console {
    clock: Clock,
    bar: ProgressBar,
}

impl Console {
    pub(crate) fn new(lasting: Duration) -> Self {
        let bar = ProgressBar::new(lasting.as_secs());
        if let Ok(style) = ProgressStyle::with_template("  {wide_bar} {pos}/{len} s of faults") {
            bar.set_style(style);
        }
        Self { clock: Clock::system(), bar }
    }

    /// Prints a line with the seconds since the start.
    pub(crate) fn note(&self, line: &str) {
        let seconds = Duration::from_millis(self.clock.mono().0).as_secs_f64();
        let line = format!("{seconds:7.1} s  {line}");
        if self.bar.is_hidden() {
            writeln_stderr(&line);
        } else {
            self.bar.println(line);
        }
    }

    /// Moves the bar.
    pub(crate) fn show(&self, passed: Duration) {
        if self.bar.position() != passed.as_secs() {
            self.bar.set_position(passed.as_secs());
        }
    }

    /// Removes the bar.
    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(clippy::print_stderr, reason = "progress is for people")]
fn writeln_stderr(line: &str) {
    eprintln!("{line}");
}
