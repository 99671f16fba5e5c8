//! Replies that are lost, stand still, or are not what they should be.

use std::time::{Duration, Instant};

use testkit::{Direction, Fault, RequestKind, Seen};

use crate::world::{World, marked};

fn is_push(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-receive-pack")
}

fn is_upload_pack(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("/git-upload-pack")
}

#[tokio::test]
async fn a_lost_reply_to_an_applied_push_is_recognised() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    world.proxy.inject_once(is_push, Fault::LoseReply);
    let pushed = world.set("main", "a", "2").await.expect("recognised").pushed.expect("ours");
    assert_eq!(world.server.git("app", &["rev-parse", "main"]).trim(), pushed.commit.to_string());
    assert_eq!(world.server.traffic(RequestKind::Push).n_requests, 1, "not repeated");
    assert_eq!(world.server.git("app", &["rev-list", "--count", "main"]).trim(), "2");
}

#[tokio::test]
async fn a_lost_reply_is_recognised_below_what_a_human_put_on_top() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    world.proxy.inject_once(is_push, Fault::LoseReply);
    let mut n = 0;
    world.server.after(RequestKind::Push, move |repositories, _| {
        n += 1;
        if n == 1 {
            for n in 0..3 {
                repositories.commit_as_human("app", "main", &[(format!("{n}.txt"), "mine")]);
            }
        }
    });
    let pushed = world.set("main", "a", "2").await.expect("recognised").pushed.expect("ours");
    assert_eq!(world.server.git("app", &["rev-parse", "main~3"]).trim(), pushed.commit.to_string());
    assert_eq!(world.server.traffic(RequestKind::Push).n_requests, 1, "not repeated");
}

#[tokio::test]
async fn a_push_that_never_arrived_is_sent_again() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    world.proxy.inject_once(is_push, Fault::Reset(Direction::Up, 100));
    world.set("main", "a", "2").await.expect("sent again").pushed.expect("ours");
    assert_eq!(world.server.git("app", &["rev-list", "--count", "main"]).trim(), "2");
}

#[tokio::test]
async fn a_server_that_stands_still_costs_its_deadline_only() {
    for n_bytes in [0, 100, 2_000] {
        let mut world =
            World::with_files(&[("a.yaml", &marked("a", "1")), ("big.txt", &noise(20_000))]);
        world.access.timeout = Duration::from_millis(700);
        world.proxy.inject(is_upload_pack, Fault::Stall(Direction::Down, n_bytes));
        let start = Instant::now();
        let error = world.set("main", "a", "2").await.expect_err("it stands still");
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
        assert!(error.to_string().starts_with("unable to clone"), "{error}");
        world.proxy.clear();
        world.access.timeout = Duration::from_secs(30);
        world.set("main", "a", "2").await.expect("the lane goes on").pushed.expect("ours");
    }
}

#[tokio::test]
async fn cut_and_harmed_packs_are_refused() {
    let faults = [
        Fault::Close(Direction::Down, 3_000),
        Fault::Reset(Direction::Down, 5_000),
        Fault::Rewrite(Direction::Down, b"PACK".to_vec(), b"PACC".to_vec()),
        Fault::Rewrite(
            Direction::Down,
            b"PACK\0\0\0\x02\0\0".to_vec(),
            b"PACK\0\0\0\x02\xff\xff".to_vec(),
        ),
        Fault::Rewrite(Direction::Down, b"packfile".to_vec(), b"pickfile".to_vec()),
    ];
    for fault in faults {
        let world =
            World::with_files(&[("a.yaml", &marked("a", "1")), ("big.txt", &noise(20_000))]);
        world.proxy.inject(is_upload_pack, fault.clone());
        let error = world.set("main", "a", "2").await.expect_err("harmed");
        assert!(error.to_string().starts_with("unable to clone"), "{fault:?}: {error}");
        world.proxy.clear();
        world.set("main", "a", "2").await.expect("all is well").pushed.expect("ours");
        world.server.git("app", &["fsck", "--strict"]);
    }
}

#[tokio::test]
async fn a_server_of_version_0_does_as_well() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    let old = Fault::Rewrite(Direction::Up, b"git-protocol".to_vec(), b"git-protocox".to_vec());
    world.proxy.inject(|_| true, old);
    world.set("main", "a", "2").await.expect("an older protocol").pushed.expect("ours");
    world.server.commit_as_human("app", "main", &[("b.txt", "mine")]);
    world.server.reset_traffic();
    world.set("main", "a", "3").await.expect("incremental").pushed.expect("ours");
    assert_eq!(world.server.traffic(RequestKind::LsRefs).n_requests, 0);
    assert!(world.server.traffic(RequestKind::Fetch).n_bytes_down < 1_000);
    world.server.git("app", &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_server_that_wants_an_introduction_gets_one() {
    let world = World::with_files(&[("a.yaml", &marked("a", "1"))]);
    // The real server refuses a request that does not say what it is.
    let (said, unsaid) = (b"git-receive-pack-request", b"git-receive-pack-requesx");
    let fault = Fault::Rewrite(Direction::Up, said.to_vec(), unsaid.to_vec());
    world.proxy.inject_once(is_push, fault);
    world.set("main", "a", "2").await.expect("asked first").pushed.expect("ours");
    assert_eq!(world.server.traffic(RequestKind::ReceiveRefs).n_requests, 1);
}

/// Returns text that does not deflate.
fn noise(n_bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..n_bytes).map(|_| letter()).collect()
}
