//! A running `tagtide up` and a stock `kubectl` that speaks to it.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::world::Desk;

/// A test that waits longer for something has failed; a slow machine is given time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// The daemon; it is killed when dropped.
pub(crate) struct Daemon<'a> {
    desk: &'a Desk,
    state: PathBuf,
    child: Child,
}

/// What a daemon left.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    /// Starts `tagtide up --state state --listen 127.0.0.1:0` with more arguments and waits until it
    /// answers.
    #[track_caller]
    pub(crate) fn up(&self, args: &[&str]) -> Daemon<'_> {
        self.up_with(args, &[])
    }

    /// As [`Desk::up`], with more variables in its environment.
    #[track_caller]
    pub(crate) fn up_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Daemon<'_> {
        let mut command = self.command(&["up", "--state", "state", "--listen", "127.0.0.1:0"]);
        let output = |name: &str| File::create(self.path(name)).expect("a file");
        command.envs(variables.iter().copied());
        command.args(args).stdout(output("up.stdout")).stderr(output("up.stderr"));
        let child = command.spawn().expect("the binary starts");
        let mut daemon = Daemon { desk: self, state: self.path("state"), child };
        daemon.wait_for("the greeting", |daemon| {
            assert!(daemon.child.try_wait().expect("a child").is_none(), "{}", daemon.said());
            daemon.text("up.stdout").contains("try: ").then_some(())
        });
        daemon
    }
}

impl Daemon<'_> {
    /// Returns what comes out of `look`, once it does.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}\n{}", self.said());
            std::thread::sleep(PAUSE);
        }
    }

    /// Runs stock kubectl; returns whether it succeeded, and what it printed.
    #[track_caller]
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.state.join("kubeconfig")).args(args);
        command.env("HOME", self.desk.path("home")).current_dir(self.desk.path("."));
        let output = command.stdin(Stdio::null()).output();
        let output = output.expect("this test needs `kubectl`");
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).expect("kubectl prints UTF-8"))
    }

    /// Runs stock kubectl, which must succeed.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let (is_ok, text) = self.try_kubectl(args);
        assert!(is_ok, "kubectl {args:?}: {text}\n{}", self.said());
        text
    }

    /// Returns an object of `flux-system`, `None` if there is none.
    #[track_caller]
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let args = ["get", kind, name, "-n", "flux-system", "-o", "json", "--ignore-not-found"];
        let text = self.kubectl(&args);
        if text.is_empty() {
            return None;
        }
        Some(serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// Returns what follows a word of the greeting, such as `metrics: `.
    #[track_caller]
    pub(crate) fn greeting(&self, word: &str) -> String {
        let text = self.text("up.stdout");
        let found = text.lines().find_map(|line| line.strip_prefix(word));
        found.unwrap_or_else(|| panic!("no `{word}` in {text}")).to_owned()
    }

    /// Returns the most memory it has had at a time, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("this test needs Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// Asks the daemon to stop, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Ended {
        let pid = self.child.id().to_string();
        let is_sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(is_sent.success(), "the daemon is there to be stopped");
        self.wait_for("the end", |daemon| daemon.child.try_wait().expect("a child"));
        self.ended()
    }

    /// Kills the daemon, as by the loss of power.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the daemon is there to be killed");
        self.child.wait().expect("a child");
    }

    fn ended(&mut self) -> Ended {
        let status = self.child.wait().expect("a child");
        let (stdout, stderr) = (self.text("up.stdout"), self.text("up.stderr"));
        Ended { code: status.code(), stdout, stderr }
    }

    fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.desk.path(name)).expect("a file");
        String::from_utf8(bytes).expect("the binary prints UTF-8")
    }

    fn said(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.text("up.stdout"), self.text("up.stderr"))
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the body of an answer to `GET`.
#[track_caller]
pub(crate) fn get(url: &str) -> Vec<u8> {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    answer.split_off(head + 4)
}
