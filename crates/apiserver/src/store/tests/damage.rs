//! Damaged files: noticed, or harmless; never served.

use std::{fs, path::Path, sync::Arc};

use serde_json::json;

use super::{super::*, Content, content, key};

/// A file with some history, and what must be read from it.
struct Sound {
    objects: Vec<u8>,
    tip: Vec<u8>,
    content: Content,
}

#[derive(Clone, Copy)]
enum End {
    Closed,
    /// Copied while it is open: as a killed process leaves it.
    Killed,
}

impl Sound {
    async fn new(end: End) -> Sound {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("objects.redb");
        let store = Store::open(&path).expect("a new file");
        let resource: Arc<str> = "xs".into();
        for round in 0..12 {
            let mark = store.mark();
            for n in 0..8 {
                let key = key(&format!("{}", round % 4 * 8 + n));
                let value = json!({"metadata": {}, "text": "x".repeat(40 * n * n), "n": round});
                let old = store.latest("xs", &key).map(|old| old.revision);
                let expected = old.map_or(Expected::Absent, Expected::Revision);
                store.put(&resource, key, expected, value).expect("nobody else writes");
            }
            store.settled(mark).await.expect("the disk takes it");
        }
        let content = content(&store);
        let read = |name: &str| fs::read(folder.path().join(name)).expect("it is there");
        let store = match end {
            End::Killed => Some(store),
            End::Closed => {
                drop(store);
                None
            }
        };
        let (objects, tip) = (read("objects.redb"), read("objects.tip"));
        drop(store);
        Sound { objects, tip, content }
    }

    /// Opens a damaged copy; returns whether the damage was noticed.
    #[track_caller]
    fn is_noticed(&self, damaged: &[u8], what: &str) -> bool {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("objects.redb");
        fs::write(&path, damaged).expect("written");
        fs::write(path.with_extension("tip"), &self.tip).expect("written");
        match Store::open(&path) {
            Err(OpenError::Damaged { .. }) => true,
            Err(error) => panic!("{what}: {error:?}"),
            Ok(store) => {
                assert!(content(&store) == self.content, "{what}: something else is served");
                false
            }
        }
    }
}

#[tokio::test]
async fn every_truncation_is_noticed() {
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        assert!(!sound.is_noticed(&sound.objects, "the whole file"));
        let n = sound.objects.len();
        let pages = (0..n).step_by(4096);
        let odd = [1, 8, 9, 10, 63, 64, 65, 192, 319, 320, 321, 4095, 4097, n / 2, n - 1];
        let lengths = pages.chain(odd);
        let n_noticed = lengths
            .filter(|&length| {
                let damaged = sound.objects.get(..length).expect("it is longer");
                sound.is_noticed(damaged, &format!("{length} bytes"))
            })
            .count();
        assert!(n_noticed > 20, "{n_noticed} of those lengths were noticed");
    }
}

#[tokio::test]
async fn flipped_bits_are_noticed_or_harmless() {
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        // Every bit that says which state is the last, a bit of every other byte of the header, and
        // samples of everything else.
        let state = (0..8).map(|bit| (9, bit));
        let header = (0..320).step_by(2).map(|offset| (offset, offset / 2 % 8));
        let rest = (320..sound.objects.len()).step_by(797).map(|offset| (offset, offset % 8));
        let mut n_noticed = 0;
        for (offset, bit) in state.chain(header).chain(rest) {
            let mut damaged = sound.objects.clone();
            *damaged.get_mut(offset).expect("within the file") ^= 1 << bit;
            let what = format!("bit {bit} of byte {offset}");
            n_noticed += usize::from(sound.is_noticed(&damaged, &what));
        }
        assert!(n_noticed > 50, "{n_noticed} flips were noticed");
    }
}

#[tokio::test]
async fn files_of_something_else_are_damage() {
    let sound = Sound::new(End::Closed).await;
    for other in [b"not a database".as_slice(), &[0; 100_000], &[0xa5; 100_000]] {
        assert!(sound.is_noticed(other, "something else"));
    }
}

#[tokio::test]
async fn an_older_copy_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("objects.redb");
    let put = async |name: &str| {
        let store = Store::open(&path).expect("it opens");
        let mark = store.mark();
        let put = store.put(&"xs".into(), key(name), Expected::Absent, json!({}));
        put.expect("nothing is there");
        store.settled(mark).await.expect("the disk takes it");
    };
    put("a").await;
    let older = fs::read(&path).expect("it is there");
    put("b").await;
    fs::write(&path, older).expect("written");
    let error = Store::open(&path).expect_err("it is older than what was answered");
    assert!(error.to_string().contains("has been answered"), "{error}");
    check_moved_aside(&path);
}

/// Without what would tell that something is missing, it is as good as ever.
#[tokio::test]
async fn what_tells_the_last_revision_may_be_lost() {
    let sound = Sound::new(End::Closed).await;
    for tip in [Vec::new(), sound.tip.get(..7).expect("it is longer").to_vec(), vec![1; 16]] {
        let sound = Sound {
            tip,
            ..Sound {
                objects: sound.objects.clone(),
                tip: Vec::new(),
                content: sound.content.clone(),
            }
        };
        assert!(!sound.is_noticed(&sound.objects, "a damaged tip"));
    }
}

#[track_caller]
fn check_moved_aside(path: &Path) {
    let clock = clock::Clock::real();
    let opened = crate::Server::open(path, clock.clone(), crate::OnDamage::Refuse);
    assert!(matches!(opened, Err(OpenError::Damaged { .. })) && path.exists());
    let (server, damage) = crate::Server::open(path, clock.clone(), crate::OnDamage::MoveAside)
        .expect("a new file is made");
    let damage = damage.expect("the old one was damaged");
    assert!(damage.moved_to.exists() && path.exists());
    drop(server);
    let (_, damage) = crate::Server::open(path, clock, crate::OnDamage::MoveAside)
        .expect("the new file is sound");
    assert_eq!(damage, None);
}
