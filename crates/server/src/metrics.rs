//! The server's metrics, and the Prometheus text format (0.0.4) in which `GET /metrics` returns
//! them.
//!
//! Labels come from enums and other fixed words, never from what a client sent, so the number of
//! series is bounded by the code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets the value to one counted elsewhere.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Counts one more until the returned guard is dropped.
    pub fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self)
    }
}

/// See [`Gauge::enter`].
#[derive(Debug)]
pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A condition that holds or not.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Relaxed);
    }

    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by the values of their labels.
#[derive(Debug)]
pub struct Family<const N: usize>(Mutex<BTreeMap<[&'static str; N], u64>>);

impl<const N: usize> Default for Family<N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<const N: usize> Family<N> {
    pub fn add(&self, labels: [&'static str; N], n: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(labels).or_default() += n;
    }
}

/// Upper bounds of a [`Histogram`]'s buckets in microseconds: 0.5 ms to 10 s.
const BOUNDS_US: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// A distribution of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(i) = BOUNDS_US.iter().position(|bound| us <= *bound) {
            self.buckets[i].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// All metrics of the server.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answered requests by kind (`api`, `link`, `page`, `own`) and class of status (`2xx`…).
    pub requests: Family<2>,
    pub request_durations: Histogram,
    pub requests_in_flight: Gauge,
    pub connections: Gauge,
    pub streams: Gauge,
    pub held_replies: Gauge,
    pub devices: Gauge,
    pub database_bytes: Gauge,
    /// Whether the last write found no space.
    pub storage_full: Flag,
    /// A damaged page of the database was met.
    pub storage_damaged: Flag,
    pub panics: Counter,
    /// Link messages by outcome.
    pub link_messages: Family<1>,
    pub link_bytes: Counter,
    /// Batches by outcome.
    pub batches: Family<1>,
    pub samples: Counter,
    /// Results for numbers that no command of the device has.
    pub results_ignored: Counter,
    /// Enrolment attempts by outcome.
    pub enrolments: Family<1>,
    /// Log-ins and set-up attempts by outcome.
    pub log_ins: Family<2>,
}

impl Metrics {
    /// Returns the text that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Text::default();
        text.family(
            "ecowatt_http_requests_total",
            "Answered requests.",
            ["kind", "status"],
            &self.requests,
        );
        text.histogram(
            "ecowatt_http_request_duration_seconds",
            "Time to the head of the answer.",
            &self.request_durations,
        );
        text.gauge(
            "ecowatt_http_requests_in_flight",
            "Requests being worked on.",
            &self.requests_in_flight,
        );
        text.gauge("ecowatt_http_connections", "Open connections.", &self.connections);
        text.gauge("ecowatt_http_event_streams", "Open event streams.", &self.streams);
        text.gauge(
            "ecowatt_link_held_replies",
            "Replies held for devices that wait.",
            &self.held_replies,
        );
        text.gauge("ecowatt_store_devices", "Devices enrolled.", &self.devices);
        text.gauge("ecowatt_store_database_bytes", "Size of the database.", &self.database_bytes);
        text.flag(
            "ecowatt_store_full",
            "1 if the last thing to be stored found no space.",
            &self.storage_full,
        );
        text.flag(
            "ecowatt_store_damaged",
            "1 if the database is damaged and nothing more is stored.",
            &self.storage_damaged,
        );
        text.counter("ecowatt_http_panics_total", "Requests that ended in a panic.", &self.panics);
        text.family(
            "ecowatt_link_messages_total",
            "Messages from devices.",
            ["outcome"],
            &self.link_messages,
        );
        text.counter(
            "ecowatt_link_bytes_total",
            "Bytes of messages from devices.",
            &self.link_bytes,
        );
        text.family(
            "ecowatt_link_batches_total",
            "Batches from devices.",
            ["outcome"],
            &self.batches,
        );
        text.counter("ecowatt_link_samples_total", "Samples stored.", &self.samples);
        text.counter(
            "ecowatt_link_results_ignored_total",
            "Results for numbers that no command of the device has.",
            &self.results_ignored,
        );
        text.family(
            "ecowatt_link_enrolments_total",
            "Claim codes redeemed or refused.",
            ["outcome"],
            &self.enrolments,
        );
        text.family(
            "ecowatt_access_log_ins_total",
            "Tokens and set-up codes exchanged for sessions.",
            ["what", "outcome"],
            &self.log_ins,
        );
        text.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str("# HELP ");
        self.0.push_str(name);
        self.0.push(' ');
        self.0.push_str(help);
        self.0.push_str("\n# TYPE ");
        self.0.push_str(name);
        self.0.push(' ');
        self.0.push_str(kind);
        self.0.push('\n');
    }

    fn line(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(args);
        self.0.push('\n');
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {}", counter.get()));
    }

    fn gauge(&mut self, name: &str, help: &str, gauge: &Gauge) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {}", gauge.0.load(Ordering::Relaxed)));
    }

    fn flag(&mut self, name: &str, help: &str, flag: &Flag) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {}", u8::from(flag.holds())));
    }

    fn family<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        family: &Family<N>,
    ) {
        self.head(name, help, "counter");
        let counts = family.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (values, count) in counts {
            let pairs: Vec<String> = labels
                .iter()
                .zip(values)
                .map(|(label, value)| format!("{label}=\"{value}\""))
                .collect();
            self.line(format_args!("{name}{{{}}} {count}", pairs.join(",")));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let mut below = 0;
        for (bound, bucket) in BOUNDS_US.iter().zip(&histogram.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let bound = Duration::from_micros(*bound).as_secs_f64();
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {below}"));
        }
        // A request counted between two loads must not make a bucket smaller than the one below it.
        let count = histogram.count.load(Ordering::Relaxed).max(below);
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        let sum = Duration::from_micros(histogram.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        self.line(format_args!("{name}_sum {sum}"));
        self.line(format_args!("{name}_count {count}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_are_cumulative() {
        let metrics = Metrics::default();
        for ms in [1, 2, 40, 20_000] {
            metrics.request_durations.observe(Duration::from_millis(ms));
        }
        metrics.requests.add(["api", "2xx"], 3);
        let text = metrics.render();
        assert!(text.contains("_bucket{le=\"0.001\"} 1\n"), "{text}");
        assert!(text.contains("_bucket{le=\"0.05\"} 3\n"), "{text}");
        assert!(text.contains("_bucket{le=\"+Inf\"} 4\n"), "{text}");
        assert!(text.contains("requests_total{kind=\"api\",status=\"2xx\"} 3\n"), "{text}");
    }
}
