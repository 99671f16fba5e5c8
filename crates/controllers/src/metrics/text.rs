//! The text that a Prometheus server reads, version 0.0.4.

use std::fmt::Write as _;

/// Its media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text in the making, one family of samples after another.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
}

/// The bounds of a histogram's buckets, in ascending order; infinity is added.
pub(super) type Bounds = [f64];

/// Counts of values by size.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// By bucket; the last one holds what is over all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(super) fn observe(&mut self, bounds: &Bounds, value: f64) {
        self.counts.resize(bounds.len() + 1, 0);
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }
}

impl Text {
    /// Begins a family of a type (`counter`, `gauge`, `histogram`): samples of one name follow.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample of the family that was begun last; labels come in the order of their names.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(name);
        let mut opening = '{';
        for (label, value) in labels {
            self.out.push(opening);
            opening = ',';
            let _ = write!(self.out, "{label}=\"{}\"", escaped(value));
        }
        if opening == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// As [`Text::sample`], of a whole number.
    pub fn count(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, labels, to_float(value));
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &Bounds,
        histogram: &Histogram,
    ) {
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for index in 0..=bounds.len() {
            below += histogram.counts.get(index).copied().unwrap_or_default();
            let bound = bounds.get(index).map_or("+Inf".to_owned(), f64::to_string);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, to_float(below));
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, to_float(below));
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.out
    }
}

/// Returns a count as it is told: beyond 2^53 it loses its last digits.
#[expect(clippy::cast_precision_loss, reason = "as every Prometheus client does")]
pub fn to_float(count: u64) -> f64 {
    count as f64
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn buckets_hold_everything_up_to_their_bound_and_labels_are_escaped() {
        let bounds = [0.5, 2.0];
        let mut histogram = Histogram::default();
        for value in [0.5, 0.75, 3.0, 4.0] {
            histogram.observe(&bounds, value);
        }
        let mut text = Text::default();
        text.family("seconds", "histogram", "How long it took.");
        text.histogram("seconds", &[("name", "a\"\\\nb")], &bounds, &histogram);
        text.sample("up", &[], 1.0);
        expect![[r#"
            # HELP seconds How long it took.
            # TYPE seconds histogram
            seconds_bucket{name="a\"\\\nb",le="0.5"} 1
            seconds_bucket{name="a\"\\\nb",le="2"} 2
            seconds_bucket{name="a\"\\\nb",le="+Inf"} 4
            seconds_sum{name="a\"\\\nb"} 8.25
            seconds_count{name="a\"\\\nb"} 4
            up 1
        "#]]
        .assert_eq(&text.finish());
    }
}
