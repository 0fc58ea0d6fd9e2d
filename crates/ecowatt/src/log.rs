//! The log on standard error, and how an agent's server changes its level.

use std::io::IsTerminal as _;

use ecowatt_agent::{LogControl, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// The log of this process.
pub(crate) struct Log {
    level: LevelFilter,
    filter: reload::Handle<LevelFilter, Registry>,
}

impl Log {
    /// Starts logging; called once.
    pub(crate) fn start(level: LevelFilter) -> Self {
        let (layer, filter) = reload::Layer::new(level);
        let lines =
            fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
        tracing_subscriber::registry().with(layer).with(lines).init();
        Self { level, filter }
    }

    /// Lets an agent's server change the level, unless the operator turned the log off. The
    /// operator's level comes back exactly, also a level that a server cannot set.
    pub(crate) fn control(self) -> Option<LogControl> {
        let Self { level: own, filter } = self;
        let named = match own {
            LevelFilter::OFF => return None,
            LevelFilter::ERROR => LogLevel::Error,
            LevelFilter::WARN => LogLevel::Warn,
            LevelFilter::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        Some(LogControl::new(named, move |level| {
            let level = match level {
                level if level == named => own,
                LogLevel::Error => LevelFilter::ERROR,
                LogLevel::Warn => LevelFilter::WARN,
                LogLevel::Info => LevelFilter::INFO,
                LogLevel::Debug => LevelFilter::DEBUG,
            };
            if let Err(error) = filter.reload(level) {
                tracing::warn!(%error, "level of the log not changed");
            }
        }))
    }
}
