//! P6, P7: what finding markers costs by file size, and what planning a thousand files costs.

#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use api::image::ImageRef;
use automation::{
    marker::{Found, PolicyName, find},
    update::{File, Policies, plan},
};

fn main() {
    println!("{}", trial::bench::machine());
    for (n_bytes, target) in [(2_000, "20"), (50_000, "500"), (500_000, "5000")] {
        let file = manifest(n_bytes);
        let marked = micros(2_000_000 / n_bytes, || drop(black_box(find(black_box(&file)))));
        println!("find, {n_bytes} bytes, marked: {marked:.1} µs (target {target})");
        let plain = String::from_utf8_lossy(&file).replace('$', "").into_bytes();
        let unmarked = micros(20_000_000 / n_bytes, || drop(black_box(find(black_box(&plain)))));
        println!("find, {n_bytes} bytes, no token: {unmarked:.2} µs");
    }
    let file = manifest(2_000);
    let found: Vec<Found> = (0..1_000).map(|_| find(&file)).collect();
    let files: Vec<File<'_>> =
        found.iter().map(|found| File { path: "a.yaml", bytes: &file, found }).collect();
    let choice = ImageRef { name: "repo/x".to_owned(), tag: "v2".to_owned(), digest: None };
    let name = PolicyName { namespace: "ns".to_owned(), name: "p".to_owned() };
    let policies =
        Policies { known: BTreeMap::from([(name, Some(choice))]), ..Policies::default() };
    let all = micros(5, || assert_eq!(plan(black_box(&files), &policies).files.len(), 1_000));
    println!(
        "plan, 1,000 files of 2 KB: {:.1} ms (target 100; Flux: 227 s for the whole run)",
        all / 1000.0
    );
}

fn manifest(n_bytes: usize) -> Vec<u8> {
    let mut text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: prod}\nspec:\n  image: repo/x:v1 # {\"$imagepolicy\": \"ns:p\"}\n  env:\n".to_owned();
    while text.len() < n_bytes {
        text.push_str(
            "    - name: SOME_SETTING # why it is set\n      value: \"some value of it\"\n",
        );
    }
    text.into_bytes()
}

fn micros(n_runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    (0..n_runs).for_each(|_| run());
    start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(n_runs).expect("few runs"))
}
