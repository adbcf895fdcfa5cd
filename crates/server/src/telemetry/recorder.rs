//! What is counted in this process, as Prometheus reads it: text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Every sample is added to its bucket at once. Nothing piles up, so nothing has to tidy up.

use metrics::{Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Label, Metadata, SharedString, Unit};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Upper bounds of the buckets of what is called `_size`.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Those of everything else, which is measured in seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// By name and labels; both kinds of numbers are what `metrics` makes of an atomic.
#[derive(Default)]
pub struct Recorder {
    counters: Registered<AtomicU64>,
    gauges: Registered<AtomicU64>,
    histograms: Registered<Buckets>,
}

struct Registered<T>(RwLock<HashMap<Key, Arc<T>>>);

impl<T> Default for Registered<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Registered<T> {
    fn get(&self, key: &Key, new: impl FnOnce() -> T) -> Arc<T> {
        if let Some(known) = self.0.read().expect("no holder of this lock panics").get(key) {
            return known.clone();
        }
        self.0
            .write()
            .expect("no holder of this lock panics")
            .entry(key.clone())
            .or_insert_with(|| new().into())
            .clone()
    }

    /// In the order of their names, and of their labels where the name is the same.
    fn by_name(&self) -> BTreeMap<String, Vec<(String, Arc<T>)>> {
        let mut names = BTreeMap::<String, Vec<(String, Arc<T>)>>::new();
        for (key, value) in &*self.0.read().expect("no holder of this lock panics") {
            names.entry(key.name().into()).or_default().push((labels(key.labels()), value.clone()));
        }
        names.values_mut().for_each(|rows| rows.sort_by(|(one, _), (other, _)| one.cmp(other)));
        names
    }
}

/// How many samples were at most as large as each bound, and larger than the one before it. The last one has no bound.
struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)].fetch_add(1, Relaxed);
        GaugeFn::increment(&self.sum, value);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.get(key, AtomicU64::default))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.get(key, AtomicU64::default))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let bounds = if key.name().ends_with("_size") { SIZES } else { SECONDS };
        Histogram::from_arc(self.histograms.get(key, || Buckets::new(bounds)))
    }
}

impl Recorder {
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (name, rows) in self.counters.by_name() {
            let _ = writeln!(text, "# TYPE {name} counter");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{} {}", braced(&labels), value.load(Relaxed));
            }
        }
        for (name, rows) in self.gauges.by_name() {
            let _ = writeln!(text, "# TYPE {name} gauge");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{} {}", braced(&labels), f64::from_bits(value.load(Relaxed)));
            }
        }
        for (name, rows) in self.histograms.by_name() {
            let _ = writeln!(text, "# TYPE {name} histogram");
            for (labels, buckets) in rows {
                let bounds = buckets.bounds.iter().map(f64::to_string).chain(["+Inf".into()]);
                let more = if labels.is_empty() { "" } else { "," };
                let mut so_far = 0;
                for (bound, count) in bounds.zip(&buckets.counts) {
                    so_far += count.load(Relaxed);
                    let _ = writeln!(text, "{name}_bucket{{{labels}{more}le=\"{bound}\"}} {so_far}");
                }
                let (labels, sum) = (braced(&labels), f64::from_bits(buckets.sum.load(Relaxed)));
                let _ = writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {so_far}");
            }
        }
        text
    }
}

/// `a="1",b="2"`
fn labels<'l>(labels: impl Iterator<Item = &'l Label>) -> String {
    labels.map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value()))).collect::<Vec<_>>().join(",")
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        return value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n").into();
    }
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{counter, gauge, histogram, with_local_recorder};
    use std::thread;

    fn rendered(work: impl FnOnce()) -> String {
        let recorder = Recorder::default();
        with_local_recorder(&recorder, work);
        recorder.render()
    }

    #[test]
    fn names_and_labels_are_in_order_and_escaped() {
        let text = rendered(|| {
            counter!("b_total", "who" => "b").increment(2);
            counter!("b_total", "who" => "a\"\\\nc").increment(1);
            counter!("a_total").increment(0);
            gauge!("open", "of" => "x", "at" => "y").set(0.5);
            gauge!("open", "of" => "x", "at" => "y").decrement(1.0);
        });
        let expected = "# TYPE a_total counter\na_total 0\n\
                        # TYPE b_total counter\nb_total{who=\"a\\\"\\\\\\nc\"} 1\nb_total{who=\"b\"} 2\n\
                        # TYPE open gauge\nopen{of=\"x\",at=\"y\"} -0.5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_sample_is_in_every_bucket_that_it_is_not_too_large_for() {
        let text = rendered(|| {
            for value in [0.0005, 0.25, 0.26, 31.0] {
                histogram!("a_seconds", "route" => "/").record(value);
            }
            histogram!("group_size").record(257.0);
        });
        let has = |line: &str| assert!(text.lines().any(|one| one == line), "no `{line}` in\n{text}");
        has("a_seconds_bucket{route=\"/\",le=\"0.0005\"} 1");
        has("a_seconds_bucket{route=\"/\",le=\"0.1\"} 1");
        has("a_seconds_bucket{route=\"/\",le=\"0.25\"} 2");
        has("a_seconds_bucket{route=\"/\",le=\"30\"} 3");
        has("a_seconds_bucket{route=\"/\",le=\"+Inf\"} 4");
        has("a_seconds_sum{route=\"/\"} 31.5105");
        has("a_seconds_count{route=\"/\"} 4");
        has("group_size_bucket{le=\"256\"} 0");
        has("group_size_bucket{le=\"+Inf\"} 1");
        has("group_size_sum 257");
    }

    #[test]
    fn nothing_is_lost_when_many_count_at_once() {
        let recorder = Recorder::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_local_recorder(&recorder, || {
                        for number in 0..1_000_u32 {
                            counter!("all_total", "tens" => (number % 10).to_string()).increment(1);
                            histogram!("one_seconds").record(1.0);
                        }
                    });
                });
            }
        });
        let text = recorder.render();
        assert_eq!(text.lines().filter(|line| line.ends_with("\"} 400") && line.starts_with("all_total")).count(), 10);
        assert!(text.ends_with("one_seconds_sum 4000\none_seconds_count 4000\n"), "{text}");
    }
}
