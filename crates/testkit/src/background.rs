//! The threads that servers of this crate run on, apart from the runtime of the test.

use std::{future::Future, process, sync::LazyLock, sync::mpsc};

use tokio::{runtime, task::JoinHandle};

/// Lives as long as the process: a server in a `static` is never dropped, and its threads must
/// not end before it.
static RUNTIME: LazyLock<runtime::Runtime> = LazyLock::new(|| {
    runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("testkit")
        .enable_all()
        .build()
        .expect("a machine that runs tests has threads to give")
});

/// Starts a task; it ends with the process or with the guard.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    RUNTIME.spawn(future)
}

/// A task that ends when this value is dropped.
pub(crate) struct Guarded(JoinHandle<()>);

impl Guarded {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Guarded {
        Guarded(spawn(future))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a process from a thread that lives as long as we do.
///
/// A parent-death signal is sent when the *thread* that forked ends, and the threads of a test
/// harness come and go.
pub(crate) fn spawn_process(mut command: process::Command) -> std::io::Result<process::Child> {
    let (sender, receiver) = mpsc::channel();
    drop(spawn(async move { sender.send(command.spawn()) }));
    receiver.recv().expect("the task above always sends")
}

/// Makes a listener usable by the background threads.
pub(crate) fn listener() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let _entered = RUNTIME.enter();
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is ours");
    (listener, address)
}

/// Returns an address that was free a moment ago, for servers that can only be told a number.
pub(crate) fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("loopback has free ports")
}
