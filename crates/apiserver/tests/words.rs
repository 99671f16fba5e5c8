//! The server knows Kubernetes and no word of those who use it.

use std::{fs, path::Path};

const FOREIGN: [&str; 7] =
    ["flux", "toolkit", "image", "gitrepo", "tagtide", "automation", "marker"];

#[test]
fn the_sources_hold_no_foreign_word() {
    let mut n_files = 0;
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut n_files);
    assert!(n_files > 15, "{n_files} files");
}

fn visit(folder: &Path, n_files: &mut usize) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            visit(&path, n_files);
            continue;
        }
        let text = fs::read_to_string(&path).expect("sources are text").to_lowercase();
        // A field of service accounts.
        let text = text.replace("imagepullsecrets", "");
        for word in FOREIGN {
            assert!(!text.contains(word), "{} says {word:?}", path.display());
        }
        *n_files += 1;
    }
}
