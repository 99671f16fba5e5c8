//! The one thread that writes to the disk: all that has gathered, in one transaction.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use super::{
    Failed, Shared, Writer,
    disk::{Disk, Repair},
    memory::Queue,
};

/// Starts the thread. It ends when the bell is gone and all is written.
pub(super) fn start(disk: Disk, shared: Arc<Shared>) -> io::Result<Writer> {
    // One ring is remembered: whoever hears it takes all that has gathered.
    let (bell, rings) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("objects".to_owned())
        .spawn(move || run(disk, &shared, &rings))?;
    Ok(Writer::Thread { bell: Some(bell), thread: Some(thread) })
}

fn run(mut disk: Disk, shared: &Shared, rings: &mpsc::Receiver<()>) {
    loop {
        let is_over = rings.recv().is_err();
        write(&mut disk, shared);
        if is_over {
            return;
        }
    }
}

/// Writes what has gathered and publishes it, or lets it fail.
pub(super) fn write(disk: &mut Disk, shared: &Shared) {
    // Before anything is taken: it may turn out that more has to be written again.
    let ready = disk.ready().map_err(|error| Failed::new(&error));
    let (queue, tip, repair) = {
        let _between_requests = shared.requests.write();
        let mut state = shared.state.write();
        (state.take_queue(), state.tip, disk.repair(&state))
    };
    if queue.writes.is_empty() && queue.statuses.is_none() {
        return;
    }
    let result = ready.and_then(|()| commit(disk, &repair, &queue, tip));
    let mut state = shared.state.write();
    let settled = match result {
        Ok(()) => {
            state.publish(queue.writes, tip);
            tip
        }
        Err(error) => {
            tracing::error!(error = %error.message, "The objects cannot be written");
            disk.failed(&queue);
            state.fail(error);
            state.tip
        }
    };
    let bytes = state.bytes;
    drop(state);
    shared.settled.send_replace(settled);
    disk.tidy(bytes);
}

/// Writes in one transaction. A panic in the database is an error like any other.
fn commit(disk: &mut Disk, repair: &Repair, queue: &Queue, tip: u64) -> Result<(), Failed> {
    match catch_unwind(AssertUnwindSafe(|| disk.commit(repair, queue, tip))) {
        Ok(result) => result.map_err(|error| Failed::new(&error)),
        Err(_) => {
            let message = "the database is in a state that it does not know".into();
            Err(Failed { is_full: false, message })
        }
    }
}
