//! Signals: the first one ends a run in good order, the second one at once; and what a run leaves
//! that had no time to clean up.

use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use testkit::{Direction, Fault, FaultProxy, RequestKind, Seen};

use crate::world::{FLEET, World};

/// No run of a test takes longer to come to the place that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_push_that_is_being_sent_comes_to_its_end() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let world = World::with_app(&["1.1.0"]);
        // The reply takes its time.
        let seen = tell_of(&world.git_proxy, is_push, Fault::Delay(Duration::from_secs(2)));
        let running = world.start(&[]);
        seen.recv_timeout(PATIENCE).expect("it pushes");
        running.signal(signal);
        let ran = running.wait().exited(code);
        let said = format!("SIG{signal}: finishing what is being pushed; once more ends at once\n");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        // The source of the branch would be looked at again.
        let said = "interrupted: 1 object not reconciled; what was pushed is told above";
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(ran.report["commits"][0]["id"], world.tip("main"));
        assert_eq!(world.value("main"), "1.1.0");
        assert_eq!(world.temporary(), [""; 0]);
        world.check(&[("app", "1.1.0")]);
    }
}

#[test]
fn a_scan_that_hangs_is_not_waited_for() {
    for keeps_state in [false, true] {
        let world = World::with_app(&["1.1.0"]);
        let is_list = |seen: &Seen| seen.target.contains("/tags/list");
        let seen = tell_of(&world.registry_proxy, is_list, Fault::Stall(Direction::Down, 0));
        let running = world.start_keeping(keeps_state);
        seen.recv_timeout(PATIENCE).expect("it scans");
        running.signal("INT");
        let ran = running.wait().exited(130);
        assert!(ran.stderr.contains("interrupted: 3 objects not reconciled"), "{}", ran.stderr);
        assert_eq!((ran.n_commits(), world.temporary().len()), (0, 0));
        world.registry_proxy.clear();
        assert_eq!(world.run_keeping(keeps_state).exited(0).n_commits(), 1);
        assert_eq!(world.value("main"), "1.1.0");
    }
}

#[test]
fn a_fetch_that_hangs_is_not_waited_for() {
    let world = World::with_app(&["1.1.0"]);
    let seen = tell_of(&world.git_proxy, is_fetch, Fault::Stall(Direction::Down, 0));
    let running = world.start(&[]);
    seen.recv_timeout(PATIENCE).expect("it fetches");
    running.signal("TERM");
    let ran = running.wait().exited(143);
    assert_eq!((ran.n_commits(), world.temporary().len()), (0, 0), "{}", ran.stderr);
    assert_eq!(world.value("main"), "1.0.0");
}

#[test]
fn a_second_signal_ends_at_once_and_the_next_run_cleans_up() {
    for keeps_state in [false, true] {
        let world = World::with_app(&["1.1.0"]);
        // The push arrives, and its reply never does.
        let seen = tell_of(&world.git_proxy, is_push, Fault::Stall(Direction::Down, 0));
        let (arrived, has_arrived) = channel();
        world.git.after(RequestKind::Push, move |_, _| {
            let _ = arrived.send(());
        });
        let mut running = world.start_keeping(keeps_state);
        seen.recv_timeout(PATIENCE).expect("it pushes");
        has_arrived.recv_timeout(PATIENCE).expect("the server takes it");
        running.signal("TERM");
        running.wait_for("finishing what is being pushed");
        running.signal("INT");
        let ran = running.wait().exited(130);
        assert_eq!(ran.stdout, "");
        assert_eq!(world.temporary().is_empty(), keeps_state);
        world.git_proxy.clear();
        let ran = world.run_keeping(keeps_state).exited(0);
        assert_eq!(world.temporary(), [""; 0]);
        assert_eq!((world.value("main"), world.n_bot("main")), ("1.1.0".to_owned(), 1));
        // What was pushed is known only to who keeps something.
        assert_eq!(ran.n_commits(), usize::from(keeps_state));
    }
}

#[test]
fn a_plan_that_is_interrupted_is_none() {
    let world = World::with_app(&["1.1.0"]);
    let seen = tell_of(&world.git_proxy, is_fetch, Fault::Stall(Direction::Down, 0));
    let running = world.start_command(&["plan", "-o", "json"]);
    seen.recv_timeout(PATIENCE).expect("it fetches");
    running.signal("INT");
    let ran = running.wait().exited(130);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.ends_with("interrupted: nothing was planned or written\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(world.temporary(), [""; 0]);
}

/// Harms requests to a server, and tells when one comes.
fn tell_of(
    proxy: &FaultProxy,
    filter: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    fault: Fault,
) -> Receiver<()> {
    let (sender, receiver) = channel();
    let filter = move |seen: &Seen| filter(seen) && sender.send(()).is_ok();
    proxy.inject(filter, fault);
    receiver
}

fn is_push(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-receive-pack")
}

fn is_fetch(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-upload-pack")
}

impl World {
    fn tip(&self, branch: &str) -> String {
        self.git.git(FLEET, &["rev-parse", branch]).trim_end().to_owned()
    }
}
