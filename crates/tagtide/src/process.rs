//! What the system says of this process, under the names of Prometheus' own clients.
//!
//! On a system without `/proc` nothing is told.

use std::fs;

use controllers::metrics::Text;

/// Ticks a second in which Linux tells times to programs, on every machine.
const TICKS: f64 = 100.0;

/// The texts of `/proc` that it is read from.
#[derive(Default)]
struct Texts {
    /// Of the process.
    stat: String,
    status: String,
    limits: String,
    /// Of its network, all processes in it together.
    netstat: String,
    /// Of the machine.
    boot: String,
    n_files: Option<u64>,
}

/// Adds what is known of this process now.
pub(crate) fn tell(text: &mut Text) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd");
    tell_of(
        text,
        &Texts {
            stat: read("/proc/self/stat"),
            status: read("/proc/self/status"),
            limits: read("/proc/self/limits"),
            netstat: read("/proc/self/net/netstat"),
            boot: read("/proc/stat"),
            // The one that this is read through is not counted.
            n_files: files.ok().map(|files| (files.count() as u64).saturating_sub(1)),
        },
    );
}

fn tell_of(text: &mut Text, texts: &Texts) {
    let mut one = |name: &str, type_: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            text.family(name, type_, help);
            text.sample(name, &[], value);
        }
    };
    let help = "Number of OS threads created.";
    one("go_threads", "gauge", help, line(&texts.status, "Threads:"));
    let help = "Total user and system CPU time spent in seconds.";
    one("process_cpu_seconds_total", "counter", help, cpu_seconds(&texts.stat));
    let help = "Maximum number of open file descriptors.";
    one("process_max_fds", "gauge", help, line(&texts.limits, "Max open files"));
    let help = "Number of bytes received by the process over the network.";
    let received = network(&texts.netstat, "InOctets");
    one("process_network_receive_bytes_total", "counter", help, received);
    let help = "Number of bytes sent by the process over the network.";
    let sent = network(&texts.netstat, "OutOctets");
    one("process_network_transmit_bytes_total", "counter", help, sent);
    let help = "Number of open file descriptors.";
    one("process_open_fds", "gauge", help, texts.n_files.map(controllers::metrics::to_float));
    let help = "Resident memory size in bytes.";
    let resident = line(&texts.status, "VmRSS:").map(kilobytes);
    one("process_resident_memory_bytes", "gauge", help, resident);
    let help = "Start time of the process since unix epoch in seconds.";
    let started = Option::zip(line(&texts.boot, "btime"), field(&texts.stat, STARTED));
    let started = started.map(|(boot, ticks)| boot + ticks / TICKS);
    one("process_start_time_seconds", "gauge", help, started);
    let help = "Virtual memory size in bytes.";
    let virtual_ = line(&texts.status, "VmSize:").map(kilobytes);
    one("process_virtual_memory_bytes", "gauge", help, virtual_);
    let help = "Maximum amount of virtual memory available in bytes.";
    let limit = line(&texts.limits, "Max address space");
    one("process_virtual_memory_max_bytes", "gauge", help, limit);
}

/// Places in `/proc/self/stat` behind the program's name, counted from 0.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const STARTED: usize = 19;

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, USER_TIME)? + field(stat, SYSTEM_TIME)?) / TICKS)
}

fn field(stat: &str, place: usize) -> Option<f64> {
    // The name may have spaces and parentheses in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(place)?.trim().parse().ok()
}

/// Returns the first number of the line that begins with `name`; no limit is the highest number.
fn line(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(controllers::metrics::to_float(u64::MAX)),
        number => number.parse().ok(),
    }
}

fn kilobytes(n: f64) -> f64 {
    n * 1024.0
}

/// Returns a number of the protocol IP: a line has the names, the next one the numbers.
fn network(netstat: &str, name: &str) -> Option<f64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let place = lines.next()?.split(' ').position(|of| of == name)?;
    lines.next()?.split(' ').nth(place)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_linux_says_is_told_by_prometheus_names() {
        let texts = Texts {
            stat: "77 (a) b) S 1 77 77 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 1250 5 6 7\n"
                .into(),
            status: "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t      12 kB\nThreads:\t4\n".into(),
            limits: "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max address space         unlimited            unlimited            bytes\n\
                     Max open files            1024                 4096                 files\n"
                .into(),
            netstat: "TcpExt: A B\nTcpExt: 1 2\nIpExt: X InOctets OutOctets\nIpExt: 9 10 11\n"
                .into(),
            boot: "cpu 1 2\nbtime 1700000000\n".into(),
            n_files: Some(9),
        };
        let mut text = Text::default();
        tell_of(&mut text, &texts);
        let text = text.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            go_threads 4
            process_cpu_seconds_total 3
            process_max_fds 1024
            process_network_receive_bytes_total 10
            process_network_transmit_bytes_total 11
            process_open_fds 9
            process_resident_memory_bytes 12288
            process_start_time_seconds 1700000012.5
            process_virtual_memory_bytes 2097152
            process_virtual_memory_max_bytes 18446744073709552000"#]]
        .assert_eq(&samples.join("\n"));
    }

    #[test]
    fn what_the_system_does_not_say_is_not_told() {
        let mut text = Text::default();
        tell_of(&mut text, &Texts::default());
        assert_eq!(text.finish(), "");
        let torn =
            Texts { stat: "1 (a) S 1".into(), netstat: "IpExt: A\n".into(), ..Texts::default() };
        let mut text = Text::default();
        tell_of(&mut text, &torn);
        assert_eq!(text.finish(), "");
    }

    #[test]
    fn this_process_is_running() {
        let mut text = Text::default();
        tell(&mut text);
        let text = text.finish();
        let resident = line(&text, "process_resident_memory_bytes ").expect("it is told");
        assert!(resident > 1024.0 * 1024.0, "{resident}");
        let started = line(&text, "process_start_time_seconds ").expect("it is told");
        let now = jiff::Timestamp::now().as_second();
        assert!(started > 1.5e9 && started as i64 <= now + 1, "{started}");
    }
}
