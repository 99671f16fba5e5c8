//! Edits the files of a plan, on several threads if there are many.
//!
//! An edit is a function of one file, so the result does not depend on how the files are shared.

use std::{num::NonZero, panic, thread};

use yaml::edit::{Edit, EditError, replace};

use super::Draft;

/// Bytes of files for which another thread is worth its start: some milliseconds of parsing.
const BYTES_PER_THREAD: usize = 64 << 10;

/// Threads of one plan. More only add memory.
const THREADS_MAX: usize = 4;

/// Bytes of a file that is edited beside others. A parsed text takes many times its size, so larger ones come one by one.
const BYTES_MAX: usize = 1 << 20;

/// The bytes of an edited file; none for a file without changes.
type Edited = Option<Result<Vec<u8>, EditError>>;

/// Returns what becomes of the files, in their order.
pub(super) fn edit(drafts: &[Draft<'_>]) -> Vec<Edited> {
    let n_bytes: usize = drafts.iter().filter(|draft| is_small(draft)).map(n_bytes).sum();
    let n_processors = thread::available_parallelism().map_or(1, NonZero::get);
    let n_threads = (n_bytes / BYTES_PER_THREAD).min(THREADS_MAX).min(n_processors);
    let mut edited = match n_threads {
        0 | 1 => drafts.iter().map(edit_small).collect(),
        n_threads => edit_shares(drafts, n_threads, n_bytes),
    };
    for (draft, edited) in drafts.iter().zip(&mut edited) {
        if !is_small(draft) {
            *edited = edit_one(draft);
        }
    }
    edited
}

fn edit_shares(drafts: &[Draft<'_>], n_threads: usize, n_all_bytes: usize) -> Vec<Edited> {
    let shares = shares(drafts, n_all_bytes.div_ceil(n_threads));
    thread::scope(|scope| {
        let edit_share = |share: &[Draft<'_>]| share.iter().map(edit_small).collect::<Vec<_>>();
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || edit_share(share))).collect();
        let edited = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(edited) => edited,
            Err(payload) => panic::resume_unwind(payload),
        });
        edited.collect()
    })
}

/// Cuts the files into runs of about so many bytes.
fn shares<'d, 'f>(drafts: &'d [Draft<'f>], share_bytes: usize) -> Vec<&'d [Draft<'f>]> {
    let mut shares = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, draft) in drafts.iter().enumerate() {
        bytes += if is_small(draft) { n_bytes(draft) } else { 0 };
        if bytes >= share_bytes {
            shares.push(&drafts[start..=at]);
            (start, bytes) = (at + 1, 0);
        }
    }
    shares.push(&drafts[start..]);
    shares
}

fn is_small(draft: &Draft<'_>) -> bool {
    draft.file.bytes.len() <= BYTES_MAX
}

fn n_bytes(draft: &Draft<'_>) -> usize {
    if draft.changes.is_empty() { 0 } else { draft.file.bytes.len() }
}

fn edit_small(draft: &Draft<'_>) -> Edited {
    if is_small(draft) { edit_one(draft) } else { None }
}

fn edit_one(draft: &Draft<'_>) -> Edited {
    if draft.changes.is_empty() {
        return None;
    }
    let edits = draft.spans.iter().zip(&draft.changes);
    let edits: Vec<Edit<'_>> =
        edits.map(|(span, change)| Edit { span: span.clone(), value: &change.new }).collect();
    Some(replace(draft.file.bytes, &edits))
}
