//! Flux's verbs as flux answers them: the binary, called through a link of that name, against recorded invocations.

#![expect(clippy::disallowed_methods, reason = "it starts the binary that it tests")]

mod verbs {
    mod create;
    mod replay;
    mod targets;
    mod texts;
    pub(crate) mod world;
}
