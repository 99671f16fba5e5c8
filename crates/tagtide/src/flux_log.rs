//! Log lines as Flux's controllers write them: a JSON object a line, with their names for its fields.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use api::Kind;
use clock::Clock;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::log_book::LogBook;

/// The bytes of a value in a line, as JSON, and what is kept of a longer one; every byte takes six at
/// most. A line stays a JSON object below what the book takes.
const VALUE_BYTES_MAX: usize = 24 * 1024;
const CUT_BYTES_MAX: usize = VALUE_BYTES_MAX / 6;

/// The span of one run of one object.
const RECONCILE: &str = "reconcile";

/// Writes lines to a sink.
pub(crate) struct FluxLog {
    sink: Sink,
    clock: Clock,
}

/// Where lines go.
pub(crate) enum Sink {
    Stderr,
    Book(LogBook),
}

/// The fields of a span or of an event, in the order in which they were given.
#[derive(Clone, Default)]
struct Facts(Vec<(&'static str, Value)>);

impl FluxLog {
    pub(crate) fn new(sink: Sink) -> Self {
        Self { sink, clock: Clock::real() }
    }

    fn line<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> String
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut facts = Facts::default();
        event.record(&mut facts);
        // What an object came to says more than that it came to something.
        let outcome = facts.take("outcome");
        let message = facts.take("message");
        let message = outcome.or(message).unwrap_or_default();
        let is_error = facts.0.iter().any(|(name, _)| *name == "error");
        let mut line = Line::new();
        line.add("level", &level(*event.metadata().level(), is_error).into());
        line.add("ts", &format!("{:.3}", self.clock.now()).into());
        line.add("msg", &message);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        for span in spans {
            if let Some(known) = span.extensions().get::<Facts>() {
                line.add_span(span.name(), known);
            }
        }
        facts.0.iter().for_each(|(name, value)| line.add(name, value));
        line.finish()
    }
}

impl<S> Layer<S> for FluxLog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        // Another of these layers may have been here.
        if extensions.get_mut::<Facts>().is_none() {
            let mut facts = Facts::default();
            attributes.record(&mut facts);
            extensions.insert(facts);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let line = self.line(event, &context);
        match &self.sink {
            // Nobody may be reading; there is nowhere to say so.
            Sink::Stderr => drop(writeln!(std::io::stderr().lock(), "{line}")),
            Sink::Book(book) => book.add(&line),
        }
    }
}

/// Flux has no warnings: what carries an error is one.
fn level(level: Level, is_error: bool) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN if is_error => "error",
        Level::WARN | Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// One JSON object, whose fields stay in order.
struct Line {
    text: String,
}

impl Line {
    fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    fn add(&mut self, name: &str, value: &Value) {
        let comma = if self.text.len() > 1 { "," } else { "" };
        let mut json = value.to_string();
        if let Some(text) = value.as_str().filter(|_| json.len() > VALUE_BYTES_MAX) {
            let end = text.floor_char_boundary(CUT_BYTES_MAX);
            json = Value::from(format!("{}…", &text[..end])).to_string();
        }
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{comma}{}:{json}", Value::from(name));
    }

    /// Adds what a span is about: of a run, as controller-runtime names it.
    fn add_span(&mut self, span: &str, facts: &Facts) {
        let kind = facts.get("kind").and_then(|kind| kind.parse::<Kind>().ok());
        let (Some(kind), RECONCILE) = (kind, span) else {
            facts.0.iter().for_each(|(name, value)| self.add(name, value));
            return;
        };
        let (names, text) = (kind.names(), |name| facts.get(name).unwrap_or_default());
        let (namespace, name) = (text("namespace"), text("name"));
        self.add("controller", &names.singular.into());
        self.add("controllerGroup", &names.group.into());
        self.add("controllerKind", &names.kind.into());
        self.add(names.kind, &serde_json::json!({"name": name, "namespace": namespace}));
        self.add("namespace", &namespace.into());
        self.add("name", &name.into());
        self.add("reconcileID", &text("id").into());
    }

    fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

impl Facts {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name)?.1.as_str()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(index).1)
    }
}

impl Visit for Facts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_line_that_says_too_much_is_still_json() {
        let book = LogBook::default();
        let layer = FluxLog::new(Sink::Book(book.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let (long, controls) = ("é".repeat(40_000), "\u{1}".repeat(40_000));
            tracing::warn!(error = %long, controls = %controls, "{long}");
        });
        let page = book.after(0);
        let value: Value = serde_json::from_str(&page.lines[0]).expect("a line is JSON");
        for field in ["msg", "error", "controls"] {
            assert!(value[field].as_str().is_some_and(|text| text.ends_with('…')), "{field}");
        }
    }

    #[test]
    fn lines_have_the_fields_that_flux_gives_them() {
        let book = LogBook::default();
        let layer = FluxLog::new(Sink::Book(book.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let kind = Kind::ImagePolicy;
            let span =
                tracing::info_span!("reconcile", %kind, namespace = "ns", name = "p", id = "1-2");
            let _entered = span.enter();
            tracing::info!(outcome = %"resolved \"x\"", "Reconciled object");
            tracing::warn!(reason = "Failed", error = %"no tags", "Cannot reconcile object");
            tracing::debug!(n_tags = 3, is_new = true, "Chose");
        });
        let lines: String = book
            .after(0)
            .lines
            .iter()
            .map(|line| {
                let value: Value = serde_json::from_str(line).expect("a line is JSON");
                let time = value["ts"].as_str().expect("a time").to_owned();
                assert!(time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len());
                format!("{}\n", line.replace(&time, "TIME"))
            })
            .collect();
        expect![[r#"
            {"level":"info","ts":"TIME","msg":"resolved \"x\"","controller":"imagepolicy","controllerGroup":"image.toolkit.fluxcd.io","controllerKind":"ImagePolicy","ImagePolicy":{"name":"p","namespace":"ns"},"namespace":"ns","name":"p","reconcileID":"1-2"}
            {"level":"error","ts":"TIME","msg":"Cannot reconcile object","controller":"imagepolicy","controllerGroup":"image.toolkit.fluxcd.io","controllerKind":"ImagePolicy","ImagePolicy":{"name":"p","namespace":"ns"},"namespace":"ns","name":"p","reconcileID":"1-2","reason":"Failed","error":"no tags"}
            {"level":"debug","ts":"TIME","msg":"Chose","controller":"imagepolicy","controllerGroup":"image.toolkit.fluxcd.io","controllerKind":"ImagePolicy","ImagePolicy":{"name":"p","namespace":"ns"},"namespace":"ns","name":"p","reconcileID":"1-2","n_tags":3,"is_new":true}
        "#]]
        .assert_eq(&lines);
    }
}
