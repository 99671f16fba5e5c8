//! What one change costs in a repository of 10,000 files, and fifty at once.
//!
//! Against the real `git http-backend` on this machine. Prints our figure, the target, and Flux's
//! figure measured elsewhere for orientation. Processor time is told apart: ours with the server's front, and that of the server's
//! git, which checks what it is pushed against all folders of the branch. `large` as an argument adds a repository of 507 MB, which
//! takes minutes.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clock::Clock;
use git::{
    Access, BlobIndex, Caller, Change, FileChange, Finder, Limits, Mirrors, Plan, RefName,
    Reference, RemoteUrl, Request, Snapshot,
};
use testkit::{GitServer, RequestKind};
use trial::bench::{growth, machine};

/// Files that hold the mark, as `automation` finds its own.
struct Marks;

impl Finder for Marks {
    type Value = String;

    fn version(&self) -> u32 {
        1
    }

    fn is_candidate(&self, file_name: &str) -> bool {
        file_name.ends_with(".yaml")
    }

    fn find(&self, bytes: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (_, mark) = text.split_once("# mark ")?;
        mark.lines().next().map(str::to_owned)
    }
}

struct Bench {
    server: GitServer,
    mirrors: Mirrors,
    index: Arc<BlobIndex<Marks>>,
    url: RemoteUrl,
}

fn main() {
    println!("{}", machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (mut warm, mut cold) = (Vec::new(), Vec::new());
        for (n_files, n_folders) in [(1_000, 20), (10_000, 200), (100_000, 2_000)] {
            let times = one_change(n_files, n_folders).await;
            warm.push((n_files as f64, times.warm.as_secs_f64()));
            cold.push((n_files as f64, times.cold.as_secs_f64()));
        }
        println!("  growth with the number of files: warm {:.2} (target 0.1)", growth(&warm));
        println!("  growth with the number of files: cold {:.2} (target 1.05)", growth(&cold));
        many_files().await;
        let mut times = Vec::new();
        for n_automations in [1, 10, 50, 200] {
            let time = many_automations(n_automations).await;
            times.push((n_automations as f64, time.as_secs_f64()));
        }
        println!("  growth with the number of automations: {:.2} (target 1.05)", growth(&times));
        if std::env::args().any(|argument| argument == "large") {
            large().await;
        }
    });
}

impl Bench {
    /// Returns a server with a repository of files of 2 KB, of which `n_marked` hold a mark.
    fn new(n_files: usize, n_folders: usize, mark: impl Fn(usize) -> Option<String>) -> Bench {
        let server = GitServer::start();
        let files: Vec<(String, String)> = (0..n_files)
            .map(|n| (format!("apps/{}/{n}.yaml", n % n_folders), file(n, mark(n))))
            .collect();
        server.create_repository("app", &files);
        let client = net::Client::new(net::Options::default()).expect("TLS can be set up");
        let mirrors = Mirrors::temporary(client, Clock::real(), Limits::default());
        let url = server.url("app").as_str().parse().expect("a URL of ours");
        let index = Arc::new(BlobIndex::in_memory(Marks));
        Bench { server, mirrors: mirrors.expect("a temporary folder"), index, url }
    }

    /// Sets the value behind a mark and pushes.
    async fn set(&self, mark: &str, value: &str) -> bool {
        let (index, mark, value) = (Arc::clone(&self.index), mark.to_owned(), value.to_owned());
        let request = Request {
            checkout: Reference::branch("main").expect("valid"),
            branch: RefName::branch("main").expect("valid"),
            refspec: None,
            options: Vec::new(),
            author: ("Bot".to_owned(), "bot@example.com".to_owned()),
            access: Access::anonymous(Duration::from_secs(60)),
            caller: Caller::default(),
        };
        let plan = move |files: &mut Snapshot| plan(files, &index, &mark, &value);
        let outcome = self.mirrors.mirror(&self.url, "").update(request, plan).await;
        outcome.expect("nothing is in the way").pushed.is_some()
    }

    fn bytes(&self) -> u64 {
        use RequestKind::{Fetch, LsRefs, Push, ReceiveRefs, UploadRefs};
        let kinds = [UploadRefs, LsRefs, Fetch, ReceiveRefs, Push];
        let traffic = kinds.map(|kind| self.server.traffic(kind));
        traffic.iter().map(|traffic| traffic.n_bytes_up + traffic.n_bytes_down).sum()
    }
}

fn plan(
    files: &mut Snapshot,
    index: &BlobIndex<Marks>,
    mark: &str,
    value: &str,
) -> Result<Plan<()>, String> {
    let walk = files.walk("apps", index).map_err(|error| error.to_string())?;
    let mut changed = Vec::new();
    for hit in walk.hits.iter().filter(|hit| *hit.value == mark) {
        let old = files.read(hit.id).map_err(|error| error.to_string())?;
        let old = String::from_utf8(old).map_err(|error| error.to_string())?;
        let (before, after) = old.split_once("tag: ").ok_or("no tag")?;
        let after = after.split_once(' ').ok_or("no mark")?.1;
        let bytes = format!("{before}tag: {value} {after}").into_bytes();
        changed.push(FileChange { path: hit.path.clone(), bytes });
    }
    let message = format!("Set {mark} to {value}\n");
    Ok(Plan { change: Some(Change { files: changed, message }), detail: () })
}

/// Returns 2 KB of manifest.
fn file(n: usize, mark: Option<String>) -> String {
    let mut text = format!("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{n}\n");
    if let Some(mark) = mark {
        text += &format!("tag: 1.0.0 # mark {mark}\n");
    }
    let mut state = n as u64 + 1;
    while text.len() < 2_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text += &format!("  key-{:04}: value-{:08x}\n", text.len(), state >> 32);
    }
    text
}

/// How long one change takes.
struct OneChange {
    /// The median of several, with a mirror that is up to date.
    warm: Duration,
    /// The first, with no mirror.
    cold: Duration,
}

async fn one_change(n_files: usize, n_folders: usize) -> OneChange {
    let every = n_files / 200;
    let bench = Bench::new(n_files, n_folders, |n| (n % every == 0).then(|| n.to_string()));
    println!("one change, {n_files} files of 2 KB");
    cold_and_warm(&bench).await
}

/// Changes one file with nothing in the mirror, then nine times with all in it, then not at all.
async fn cold_and_warm(bench: &Bench) -> OneChange {
    let (start, before) = (Instant::now(), Processor::now());
    assert!(bench.set("0", "1.0.1").await);
    let (cold, cold_bytes) = (start.elapsed(), bench.bytes());
    let cold_processor = before.since();
    let mut warm = Vec::new();
    let before = Processor::now();
    for n in 0..9 {
        bench.server.reset_traffic();
        let start = Instant::now();
        assert!(bench.set("0", &format!("1.1.{n}")).await);
        warm.push(start.elapsed());
    }
    let (bytes, warm_processor) = (bench.bytes(), before.since());
    warm.sort_unstable();
    println!(
        "  warm   {:>8.1?} (target 150 ms; Flux 10.5 s), {bytes} B wire (target 10 KB; Flux 6.96 MB)",
        warm[4]
    );
    println!("         processor: {}", warm_processor.over(9));
    println!("  cold   {cold:>8.1?} (target 700 ms; Flux 10.5 s), {cold_bytes} B wire");
    println!("         processor: {}", cold_processor.over(1));
    bench.server.reset_traffic();
    let start = Instant::now();
    assert!(!bench.set("0", "1.1.8").await);
    println!("  no-op  {:>8.1?} (Flux 0.06 s to 8.5 s), {} B wire", start.elapsed(), bench.bytes());
    OneChange { warm: warm[4], cold }
}

async fn many_files() {
    for (n_marked, flux) in [(100, "21.7 s"), (1_000, "227 s")] {
        let mark = |n| (n <= n_marked).then(|| (n < n_marked).to_string());
        let bench = Bench::new(10_000, 200, mark);
        // Another policy's change fills the mirror.
        assert!(bench.set("false", "0.0.0").await);
        let (start, before) = (Instant::now(), Processor::now());
        assert!(bench.set("true", "1.0.1").await);
        let (took, processor) = (start.elapsed(), before.since().over(1));
        println!(
            "one policy in {n_marked} of 10000 files: {took:.1?} (target 500 ms; Flux {flux})"
        );
        println!("         processor: {processor}");
    }
}

/// Bytes of a file that does not deflate, and how many of them: 500 MB.
const BLOB_BYTES: usize = 1_000_000;
const N_BLOBS: usize = 500;

/// The monorepo in a repository of 507 MB: a quarter of the rest is in the tip, the others in fifty older commits.
async fn large() {
    let bench = Bench::new(10_000, 200, |n| (n % 50 == 0).then(|| n.to_string()));
    for commit in 0..50 {
        let blobs: Vec<(String, Vec<u8>)> = (0..N_BLOBS / 50)
            .map(|n| {
                // Every fourth commit adds files, the others replace the same ones.
                let folder =
                    if commit % 4 == 0 { format!("added-{commit}") } else { "replaced".to_owned() };
                (format!("assets/{folder}/{n}.bin"), noise(commit * 1_000 + n))
            })
            .collect();
        bench.server.commit_as_human("app", "main", &blobs);
    }
    println!("one change, 10000 files of 2 KB in a repository of 507 MB");
    cold_and_warm(&bench).await;
}

fn noise(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BLOB_BYTES / 8).flatten().collect()
}

/// Processor time in hundredths of a second: of this process, and of its children that have ended.
struct Processor {
    ours: f64,
    children: f64,
}

impl Processor {
    fn now() -> Processor {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may hold anything, the third field comes first.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: Vec<f64> =
            fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        let sum = |from: usize| ticks.get(from..from + 2).map_or(0.0, |pair| pair.iter().sum());
        Processor { ours: sum(11), children: sum(13) }
    }

    fn since(&self) -> Processor {
        let now = Processor::now();
        Processor { ours: now.ours - self.ours, children: now.children - self.children }
    }

    fn over(&self, n_runs: u32) -> String {
        let millis = |ticks: f64| ticks * 10.0 / f64::from(n_runs);
        format!("{:.0} ms ours, {:.0} ms git's", millis(self.ours), millis(self.children))
    }
}

async fn many_automations(n_automations: usize) -> Duration {
    let mark = |n: usize| (n < n_automations).then(|| n.to_string());
    let bench = Arc::new(Bench::new(1_000, 200, mark));
    let main = Reference::branch("main").expect("valid");
    let access = Access::anonymous(Duration::from_secs(60));
    bench.mirrors.mirror(&bench.url, "").refresh(&main, &access).await.expect("all is well");
    bench.server.reset_traffic();
    let start = Instant::now();
    let sets = (0..n_automations).map(|n| {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move { bench.set(&n.to_string(), "2.0.0").await })
    });
    for set in sets.collect::<Vec<_>>() {
        assert!(set.await.expect("no panic"));
    }
    let took = start.elapsed();
    let n_pushes = bench.server.traffic(RequestKind::Push).n_requests;
    let n_fetches = bench.server.traffic(RequestKind::Fetch).n_requests;
    println!(
        "{n_automations} automations, one branch: {took:.1?}, {n_pushes} pushes, {n_fetches} fetches \
         (target for 200: 2 s, 3 pushes; Flux for 50: 38 s to 77 s, 140 pushes)"
    );
    took
}
