//! Paths in a repository.

/// Returns a path relative to the repository's root, without `.`, empty names and outer slashes, and
/// with `..` held at the root. Empty means the root.
pub fn clamp(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_repository() {
        let cases = [
            ("", ""),
            ("./apps//dev/", "apps/dev"),
            ("/apps/../../etc/./x", "etc/x"),
            ("../..", ""),
            ("a/..b/...", "a/..b/..."),
        ];
        for (path, expected) in cases {
            assert_eq!(clamp(path), expected, "{path}");
        }
    }
}
