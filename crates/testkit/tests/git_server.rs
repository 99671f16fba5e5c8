//! Stock git is content with the server.

use std::{
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use testkit::{
    Change, GitAccess, GitServer, GitServerOptions, PASSWORD, RequestKind, TOKEN, Tls, USERNAME,
};

const FILES: &[(&str, &str)] =
    &[("README.md", "hello\n"), ("apps/dev/app.yaml", "tag: branch-dev\n")];

#[test]
fn clones_and_pushes() {
    let server = GitServer::start();
    server.create_repository("org/repo", FILES);
    let human = server.commit_as_human("org/repo", "main", &[("README.md", "hello again\n")]);
    let clone = Clone::of(&server, server.url("org/repo").as_str());
    assert_eq!(clone.read("README.md"), "hello again\n");
    assert_eq!(clone.git(&["rev-parse", "HEAD"]).trim(), human);

    clone.commit("apps/dev/app.yaml", "tag: 1.0.0\n");
    clone.git(&["push", "--quiet", "origin", "HEAD:main", "HEAD:refs/heads/other"]);
    let tip = clone.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!(server.repositories().resolve("org/repo", "main"), Some(tip.clone()));
    assert_eq!(server.repositories().resolve("org/repo", "other"), Some(tip));
    assert_eq!(
        server.repositories().file("org/repo", "main", "apps/dev/app.yaml").as_deref(),
        Some(b"tag: 1.0.0\n".as_slice())
    );
    server.git("org/repo", &["fsck", "--strict"]);
}

#[test]
fn counts_requests_by_kind() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let clone = Clone::of(&server, server.url("repo").as_str());
    let n_requests = |kind| server.traffic(kind).n_requests;
    assert_eq!(n_requests(RequestKind::UploadRefs), 1);
    assert_eq!(n_requests(RequestKind::LsRefs), 1);
    assert_eq!(n_requests(RequestKind::Fetch), 1);
    assert_eq!(n_requests(RequestKind::Push), 0);
    assert!(server.traffic(RequestKind::Fetch).n_bytes_down > 100);

    server.reset_traffic();
    // Incompressible and larger than git's buffer: sent in chunks.
    clone.commit("noise", &noise(3_000_000));
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    assert_eq!(n_requests(RequestKind::UploadRefs), 0);
    assert_eq!(n_requests(RequestKind::ReceiveRefs), 1);
    assert!(server.traffic(RequestKind::Push).n_bytes_up > 1_000_000);
}

#[test]
fn a_large_fetch_request_may_be_compressed() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let clone = Clone::of(&server, server.url("repo").as_str());
    for n in 0..50 {
        clone.commit("local", &n.to_string());
    }
    let tip = server.commit_as_human("repo", "main", &[("README.md", "moved\n")]);
    server.reset_traffic();
    clone.git(&["fetch", "--quiet"]);
    assert_eq!(clone.git(&["rev-parse", "origin/main"]).trim(), tip);
    assert!(server.traffic(RequestKind::Fetch).n_requests >= 1);
    assert_eq!(server.traffic(RequestKind::Other).n_requests, 0);
}

#[test]
fn the_older_protocol_works_too() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let folder = TempDir::new().expect("a temporary folder");
    let url = server.url("repo");
    let mut command = server.repositories().command();
    command.args(["-c", "protocol.version=0", "clone", "--quiet", "--depth=1", url.as_str()]);
    succeed(&command.arg(folder.path().join("clone")).output().expect("git starts"));
    assert_eq!(server.traffic(RequestKind::LsRefs).n_requests, 0);
}

#[test]
fn a_person_moves_the_branch_while_a_push_is_under_way() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let clone = Clone::of(&server, server.url("repo").as_str());
    clone.commit("README.md", "from afar\n");
    let n_calls = Arc::new(AtomicUsize::new(0));
    let counter = n_calls.clone();
    server.before(RequestKind::Push, move |repositories, request| {
        counter.fetch_add(1, Ordering::SeqCst);
        repositories.commit_as_human(&request.repository, "main", &[("README.md", "faster\n")]);
    });
    let output = clone.try_git(&["push", "origin", "HEAD:main"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("remote rejected"), "{output:?}");
    assert_eq!(n_calls.load(Ordering::SeqCst), 1);
    assert_eq!(server.repositories().file("repo", "main", "README.md"), Some(b"faster\n".into()));

    server.clear_hooks();
    clone.git(&["pull", "--quiet", "--rebase", "-Xtheirs", "origin", "main"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    assert_eq!(n_calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hook_after_a_push_sees_it_applied() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let clone = Clone::of(&server, server.url("repo").as_str());
    clone.commit("README.md", "pushed\n");
    let tip = clone.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let (sender, receiver) = std::sync::mpsc::channel();
    server.after(RequestKind::Push, move |repositories, request| {
        sender.send(repositories.resolve(&request.repository, "main")).expect("the test listens");
    });
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Some(tip)]);
}

#[test]
fn a_script_refuses_pushes() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    server.repositories().set_pre_receive("repo", "echo no entry; exit 1");
    let clone = Clone::of(&server, server.url("repo").as_str());
    clone.commit("README.md", "refused\n");
    let output = clone.try_git(&["push", "origin", "HEAD:main"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("no entry") && stderr.contains("pre-receive hook declined"),
        "{stderr}"
    );
}

#[test]
fn push_options_reach_the_hooks() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    server.repositories().set_pre_receive("repo", "echo \"$GIT_PUSH_OPTION_0\" > option");
    let clone = Clone::of(&server, server.url("repo").as_str());
    clone.commit("README.md", "with an option\n");
    clone.git(&["push", "--quiet", "-o", "ci.skip", "origin", "HEAD:main"]);
    let option = std::fs::read_to_string(server.path("repo").join("option")).expect("a file");
    assert_eq!(option, "ci.skip\n");
}

#[test]
fn basic_and_bearer_let_only_those_in_who_know() {
    let server = start_with(GitAccess::Basic);
    let mut url = server.url("repo");
    assert!(!ls_remote(&server, url.as_str(), &[]).status.success());
    assert_eq!(server.traffic(RequestKind::Unauthorized).n_requests, 1);
    url.set_username(USERNAME).expect("http URLs have users");
    url.set_password(Some(PASSWORD)).expect("http URLs have passwords");
    succeed(&ls_remote(&server, url.as_str(), &[]));

    let server = start_with(GitAccess::Bearer);
    let url = server.url("repo");
    assert!(!ls_remote(&server, url.as_str(), &[]).status.success());
    let header = format!("http.extraHeader=Authorization: Bearer {TOKEN}");
    succeed(&ls_remote(&server, url.as_str(), &["-c", &header]));
}

#[test]
fn tls_is_for_those_who_trust_our_authority() {
    let tls = Tls::mutual();
    let options = GitServerOptions { tls: Some(tls.clone()), ..GitServerOptions::default() };
    let server = GitServer::start_with(&options);
    server.create_repository("repo", FILES);
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str, pem: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, pem).expect("the folder can be written");
        file.display().to_string()
    };
    let ca = format!("http.sslCAInfo={}", file("ca.pem", &tls.ca));
    let certificate = format!("http.sslCert={}", file("client.pem", &tls.client.certificate));
    let key = format!("http.sslKey={}", file("client.key", &tls.client.key));
    let url = server.url("repo");
    assert!(!ls_remote(&server, url.as_str(), &[]).status.success());
    assert!(!ls_remote(&server, url.as_str(), &["-c", &ca]).status.success());
    succeed(&ls_remote(&server, url.as_str(), &["-c", &ca, "-c", &certificate, "-c", &key]));
}

#[test]
fn commits_take_any_change() {
    let server = GitServer::start();
    server.create_repository("repo", FILES);
    let changes = [
        Change::symlink("link.yaml", "../../etc/passwd"),
        Change::delete("apps"),
        Change::write("a \"quoted\" näme", &[0, 255, 10]),
    ];
    server.repositories().commit("repo", "dev", "All sorts\n", &changes);
    let tree = server.git("repo", &["ls-tree", "-r", "-z", "dev"]);
    let names: Vec<(&str, &str)> = tree
        .split_terminator('\0')
        .map(|line| (&line[..6], line.split_once('\t').expect("a tab").1))
        .collect();
    assert_eq!(
        names,
        [("100644", "README.md"), ("100644", "a \"quoted\" näme"), ("120000", "link.yaml")]
    );
    assert_eq!(
        server.repositories().file("repo", "dev", "a \"quoted\" näme"),
        Some(vec![0, 255, 10])
    );
    server.git("repo", &["fsck", "--strict"]);
}

fn start_with(access: GitAccess) -> GitServer {
    let server = GitServer::start_with(&GitServerOptions { access, ..Default::default() });
    server.create_repository("repo", FILES);
    server
}

fn ls_remote(server: &GitServer, url: &str, options: &[&str]) -> Output {
    let mut command = server.repositories().command();
    command.args(options).args(["ls-remote", url]).output().expect("git starts")
}

fn noise(n_bytes: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut text = String::with_capacity(n_bytes);
    while text.len() < n_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b'!' + u8::try_from(state % 90).expect("below 90")));
    }
    text
}

#[track_caller]
fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct Clone<'a> {
    server: &'a GitServer,
    folder: TempDir,
}

impl<'a> Clone<'a> {
    fn of(server: &'a GitServer, url: &str) -> Clone<'a> {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = server.repositories().command();
        succeed(&command.args(["clone", "--quiet", url]).arg(folder.path()).output().expect("git"));
        Clone { server, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).expect("the file was checked out")
    }

    fn commit(&self, file: &str, content: &str) {
        std::fs::write(self.path().join(file), content).expect("the clone can be written");
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", "change"]);
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        succeed(&output);
        String::from_utf8(output.stdout).expect("git prints text")
    }

    fn try_git(&self, args: &[&str]) -> Output {
        let mut command = self.server.repositories().command();
        command.current_dir(self.path()).args(args).output().expect("git starts")
    }
}
