//! Lets the server's settings change what the process around the agent logs.

use std::fmt;

use ecowatt_device::LogLevel;

/// The level of a process's log, and how to change it.
pub struct LogControl {
    own: LogLevel,
    level: LogLevel,
    set: Box<dyn Fn(LogLevel) + Send + Sync>,
}

impl LogControl {
    /// A log with the level `own` by the operator's configuration; `set` changes it at run time.
    pub fn new(own: LogLevel, set: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        Self { own, level: own, set: Box::new(set) }
    }

    /// The operator's level.
    pub(crate) fn own(&self) -> LogLevel {
        self.own
    }

    /// Changes the level if it is another one.
    pub(crate) fn follow(&mut self, level: Option<LogLevel>) {
        if let Some(level) = level.filter(|level| *level != self.level) {
            self.level = level;
            (self.set)(level);
        }
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("own", &self.own).field("level", &self.level).finish()
    }
}
