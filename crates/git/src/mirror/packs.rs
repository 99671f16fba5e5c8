//! Takes packs into a mirror's folder: screened, then indexed or completed.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::atomic::AtomicBool,
};

use gix::{ObjectId, hash::Kind, progress::Discard};
use gix_pack::{Bundle, bundle, data, index};
use tempfile::NamedTempFile;

use crate::{
    error::RemoteError,
    limits::Limits,
    screen::{self, ScreenError, Screened},
    transport::spool::Spooled,
};

/// Causes of an error that are named.
const CAUSES_MAX: usize = 8;

/// Threads that resolve the objects of one pack.
const THREADS_MAX: usize = 2;

/// Why a pack did not become part of a mirror.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// It is refused for what the server sent.
    #[error(transparent)]
    Remote(RemoteError),
    /// It could not be kept.
    #[error("cannot write the mirror")]
    Io(#[source] io::Error),
}

impl From<ScreenError> for IngestError {
    fn from(error: ScreenError) -> IngestError {
        IngestError::Remote(error.into())
    }
}

impl From<io::Error> for IngestError {
    fn from(error: io::Error) -> IngestError {
        IngestError::Io(error)
    }
}

/// Takes a pack into the mirror in `folder`; what it lacks is in `bases`.
pub(crate) fn take(
    folder: &Path,
    pack: Spooled,
    bases: gix::odb::Handle,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<(), IngestError> {
    let screened = screen::screen(&mut pack.open()?, limits, stop)?;
    match (screened.n_objects(), screened.n_ref_deltas) {
        (0, _) => Ok(()),
        (_, 0) => adopt(folder, pack, &screened, limits, stop),
        (_, _) => complete(folder, &pack, bases, limits, stop),
    }
}

/// Makes a pack that lacks nothing part of the mirror as it is.
///
/// The screen has read all that an index is made from, except for the ids.
fn adopt(
    folder: &Path,
    pack: Spooled,
    screened: &Screened,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<(), IngestError> {
    let temporary = folder.join("tmp");
    let pack = pack.into_file(&temporary)?;
    let data = data::File::at(&pack, Kind::Sha1).map_err(|error| refuse(&error))?;
    let mut index = io::BufWriter::new(NamedTempFile::new_in(&temporary)?);
    let written = index::write_data_iter_to_stream(
        index::Version::V2,
        || Ok((slice_of, data)),
        &mut screened.entries().map(Ok),
        Some(THREADS_MAX),
        &mut Discard,
        &mut index,
        stop,
        Kind::Sha1,
        usize::try_from(limits.object_bytes).ok(),
        data::Version::V2,
    );
    written.map_err(|error| refuse(&error))?;
    index.flush()?;
    let index = index.into_inner().map_err(io::IntoInnerError::into_error)?;
    // A pack without an index is nothing, and goes at the next start.
    let path = folder.join(format!("objects/pack/pack-{}.pack", screened.checksum()));
    pack.persist(&path).map_err(|error| error.error)?;
    tracing::trace!(target: "durable", step = "pack kept", "Durable step");
    index.persist(path.with_extension("idx")).map_err(|error| error.error)?;
    tracing::trace!(target: "durable", step = "pack indexed", "Durable step");
    Ok(())
}

fn slice_of(range: data::EntryRange, data: &data::File) -> Option<&[u8]> {
    data.entry_slice(range)
}

/// Adds to a pack the bases that its deltas name by id, which are in the mirror or in the pack itself.
fn complete(
    folder: &Path,
    pack: &Spooled,
    bases: gix::odb::Handle,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<(), IngestError> {
    let options = bundle::write::Options {
        thread_limit: Some(THREADS_MAX),
        alloc_limit_bytes: usize::try_from(limits.object_bytes).ok(),
        ..Default::default()
    };
    let outcome = Bundle::write_to_directory(
        &mut pack.open()?,
        Some(&folder.join("objects/pack")),
        &mut Discard,
        stop,
        Some(bases),
        Kind::Sha1,
        options,
    );
    let outcome = outcome.map_err(|error| refuse(&error))?;
    tracing::trace!(target: "durable", step = "pack indexed", "Durable step");
    if let Some(keep) = &outcome.keep_path {
        fs::remove_file(keep)?;
    }
    let (Some(data), Some(index)) = (&outcome.data_path, &outcome.index_path) else {
        return Ok(());
    };
    if let Err(error) = check_depths(data, index, limits, stop) {
        fs::remove_file(index)?;
        fs::remove_file(data)?;
        return Err(error);
    }
    Ok(())
}

/// Checks the depth of deltas whose bases were named by id, in the pack as it was completed.
fn check_depths(
    data: &Path,
    index: &Path,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<(), IngestError> {
    // Bases were added to it, at most one per delta.
    let limits = Limits {
        pack_bytes: limits.pack_bytes.saturating_mul(2),
        objects: limits.objects.saturating_mul(2),
        inflated_bytes: limits.inflated_bytes.saturating_mul(2),
        ..limits.clone()
    };
    let mut pack = io::BufReader::new(fs::File::open(data)?);
    let screened = screen::screen(&mut pack, &limits, stop)?;
    let index = index::File::at(index, Kind::Sha1).map_err(|error| refuse(&error))?;
    let offset_of = |id: &ObjectId| Some(index.pack_offset_at_index(index.lookup(id)?));
    Ok(screened.check_depths(&limits, offset_of)?)
}

fn refuse(error: &(dyn std::error::Error + 'static)) -> IngestError {
    IngestError::Remote(index_error(error))
}

/// Returns why a pack could not be used, to the last cause: a full disk is one.
fn index_error(error: &(dyn std::error::Error + 'static)) -> RemoteError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.take(CAUSES_MAX).map(ToString::to_string).collect();
    RemoteError::Index(causes.join(": "))
}
