//! What the log has of refused requests, and how often.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use ecowatt_model::{SourceNumber, StreamNumber};
use ecowatt_wire::Stream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::rig::device::TestDevice;
use crate::rig::world::{JSON, World, within};

const COSE: (&str, &str) = ("content-type", "application/cose");

/// Keeps the lines that this thread writes, at any level.
#[derive(Default, Clone)]
struct Log(Arc<Mutex<Vec<Line>>>);

/// The fields of a line, with its text as `message`.
#[derive(Default)]
struct Line(Vec<(&'static str, String)>);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

impl Line {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    /// Returns how many lines have this text, and how many more they report.
    fn count(&self, text: &str) -> (usize, usize) {
        let lines = self.0.lock().unwrap();
        let of = lines.iter().filter(|line| line.field("message") == Some(text));
        let others = |line: &Line| line.field("others").map_or(0, |others| others.parse().unwrap());
        of.fold((0, 0), |(count, sum), line| (count + 1, sum + others(line)))
    }

    /// Returns how many refusals are logged, as lines or among the others of one.
    fn refused(&self) -> usize {
        let counts = ["log-in refused", "enrolment refused"].map(|text| self.count(text));
        counts.iter().map(|(lines, others)| lines + others).sum()
    }

    fn contains(&self, text: &str) -> bool {
        let lines = self.0.lock().unwrap();
        lines.iter().any(|line| line.0.iter().any(|(_, value)| value.contains(text)))
    }
}

const WRONG: &str = "ewt_this-is-not-a-token-of-anybody-here";

async fn log_in(world: &World) {
    let body = format!(r#"{{"token":"{WRONG}"}}"#);
    assert_eq!(world.send("POST", "/api/v1/session", &[JSON], &body).await.status, 401);
}

/// Each refusal is in the log, as a line or among the others of one, and few of them are lines.
#[tokio::test]
async fn refused_log_ins_and_codes_are_logged_and_counted() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let world = World::start().await;
    let mut refused = 0;
    for _ in 0..20 {
        log_in(&world).await;
        let answer = world.send("POST", "/link/enrol", &[COSE], [7; 40]).await;
        assert_eq!(answer.status, 401);
        refused += 2;
    }
    // The line about the last of them is written with the first one after its pause.
    within("the suppressed ones are counted", async {
        loop {
            log_in(&world).await;
            refused += 1;
            if log.refused() == refused {
                break;
            }
        }
    })
    .await;
    let lines = log.count("log-in refused").0 + log.count("enrolment refused").0;
    assert!(lines < refused / 2, "{lines} lines for {refused}");
    assert!(!log.contains(WRONG) && !log.contains(&world.token), "a token is in the log");
}

#[tokio::test]
async fn refused_messages_and_announcements_are_logged() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let world = World::start().await;
    for _ in 0..3 {
        assert_eq!(world.send("POST", "/link", &[COSE], [7; 40]).await.status, 401);
    }
    assert_eq!(log.count("link message refused"), (3, 0));

    let mut device = TestDevice::enrol(&world, "Roof").await;
    for number in 1..=9 {
        let stream =
            Stream { number: StreamNumber(number), source: SourceNumber(0), layout: &[0xff; 20] };
        let announce = |writer: &mut ecowatt_wire::UplinkWriter<'_>| {
            writer.streams(&mut std::iter::once(stream), 0).unwrap();
        };
        assert_eq!(device.report(&world, announce).await.status, 200);
    }
    // A line a minute for one device; the next one would count the others.
    assert_eq!(log.count("stream announcement refused"), (1, 0));
}
