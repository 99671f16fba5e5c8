//! Fuzz bodies for the reader and the editor: the corpus is replayed by every test run.

use trial::fuzz::{Body, replay, run_if_asked};
use yaml::edit::{Edit, replace};

const BODIES: [Body; 2] = [
    Body { name: "edit", run: edit, words: WORDS, input_max: INPUT_MAX },
    Body { name: "reader", run: reader, words: WORDS, input_max: INPUT_MAX },
];

const WORDS: &[&str] = &[
    " ", "\n", "\r", "\t", "#", ":", "-", "?", ",", "[", "]", "{", "}", "&", "*", "!", "|", ">",
    "'", "\"", "%", "@", "`", "~", "<<", "=", "0", "a", "Z", ".", "\u{feff}", "\0", "---\n",
    "...\n",
];

/// The longest input that mutation makes.
const INPUT_MAX: usize = 8_192;

/// Whatever the bytes, reading ends with values or errors.
fn reader(bytes: &[u8]) {
    for document in yaml::documents(bytes) {
        assert!(document.map_or_else(|error| error.line, |document| document.line) > 0);
    }
}

/// An edit of any scalar is refused, or gives exactly its value and leaves the bytes before it.
fn edit(bytes: &[u8]) {
    let Ok(stream) = yaml::scan::text(bytes).and_then(yaml::scan::scan) else { return };
    let attached = yaml::comment::attach(&stream);
    assert_eq!(attached.places.len(), stream.comments.len());
    for (at, event) in stream.events.iter().enumerate().take(50) {
        if event.scalar().is_none() || event.span.is_empty() {
            continue;
        }
        let Ok(new) = replace(bytes, &[Edit { span: event.span.clone(), value: "v1.2-x" }]) else {
            continue;
        };
        let start = attached.start(&stream, at);
        assert_eq!(new[..start], bytes[..start]);
        let again =
            yaml::scan::scan(std::str::from_utf8(&new).expect("UTF-8")).expect("it was verified");
        assert_eq!(again.events[at].scalar().expect("a scalar").value, "v1.2-x");
    }
}

#[test]
fn the_corpus_holds() {
    replay(env!("CARGO_MANIFEST_DIR"), &BODIES);
}

#[test]
fn fuzz() {
    run_if_asked(env!("CARGO_MANIFEST_DIR"), &BODIES);
}
