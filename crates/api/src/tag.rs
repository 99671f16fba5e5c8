//! A registry's tags, compactly.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A list of tags: one text, and four bytes for each tag.
///
/// Duplicates are kept. What depends on the order (`revision`, `latest`) is Flux's
/// once [`sort_descending`](TagList::sort_descending) was called.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TagList {
    text: String,
    /// Where each tag ends in `text`.
    ends: Vec<u32>,
}

impl TagList {
    /// Returns the empty list.
    pub fn new() -> TagList {
        TagList::default()
    }

    /// Adds a tag at the end.
    ///
    /// # Panics
    ///
    /// When the names come to 4 GiB; whoever reads a list off the wire caps it far below.
    pub fn push(&mut self, tag: &str) {
        self.text.push_str(tag);
        self.ends.push(u32::try_from(self.text.len()).expect("a list is capped below 4 GiB"));
    }

    /// Returns the number of tags.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the tag at `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`len`](TagList::len).
    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.text[start..self.ends[index] as usize]
    }

    /// Returns the tags in stored order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self, front: 0, back: self.len() }
    }

    /// Sorts by bytes, the last first, and gives spare memory back.
    pub fn sort_descending(&mut self) {
        let descends = self.iter().zip(self.iter().skip(1)).all(|(a, b)| a >= b);
        if descends {
            self.shrink();
            return;
        }
        // Registries answer in ascending order more often than not.
        let ascends = self.iter().zip(self.iter().skip(1)).all(|(a, b)| a <= b);
        *self = if ascends { self.reordered(self.iter().rev()) } else { self.sorted() };
    }

    /// Returns the list of the tags that `keep` holds on to, in stored order.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) -> TagList {
        let mut kept: TagList = self.iter().filter(|tag| keep(tag)).collect();
        kept.shrink();
        kept
    }

    /// Returns the checksum of the list in stored order, `sha256:` and 64 hexadecimal digits.
    pub fn revision(&self) -> String {
        let mut hash = Sha256::new();
        for tag in self.iter() {
            hash.update(tag);
            hash.update(b"\n");
        }
        let mut revision = String::with_capacity(71);
        revision.push_str("sha256:");
        for byte in hash.finalize() {
            write!(revision, "{byte:02x}").expect("writing to a String cannot fail");
        }
        revision
    }

    /// Returns the first `n` tags in stored order, or all if there are fewer.
    pub fn latest(&self, n: usize) -> Vec<String> {
        self.iter().take(n).map(str::to_owned).collect()
    }

    /// Returns the bytes of memory that the list holds.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// Sorts by eight bytes behind the common prefix first: most pairs never touch the text.
    fn sorted(&self) -> TagList {
        let skip = self.common_prefix();
        let mut keys: Vec<(u64, u32)> =
            self.iter().zip(0_u32..).map(|(tag, index)| (key(tag, skip), index)).collect();
        keys.sort_unstable_by(|a, b| {
            b.0.cmp(&a.0).then_with(|| self.get(b.1 as usize).cmp(self.get(a.1 as usize)))
        });
        self.reordered(keys.iter().map(|(_, index)| self.get(*index as usize)))
    }

    fn reordered<'a>(&'a self, tags: impl Iterator<Item = &'a str>) -> TagList {
        let mut list = TagList {
            text: String::with_capacity(self.text.len()),
            ends: Vec::with_capacity(self.len()),
        };
        tags.for_each(|tag| list.push(tag));
        list
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Returns the number of bytes that all tags begin with alike.
    fn common_prefix(&self) -> usize {
        let mut tags = self.iter().map(str::as_bytes);
        let Some(first) = tags.next() else {
            return 0;
        };
        tags.fold(first.len(), |n, tag| {
            first[..n].iter().zip(tag).take_while(|(a, b)| a == b).count()
        })
    }
}

impl std::fmt::Debug for TagList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<&'a str> for TagList {
    fn from_iter<I: IntoIterator<Item = &'a str>>(tags: I) -> TagList {
        let mut list = TagList::new();
        tags.into_iter().for_each(|tag| list.push(tag));
        list
    }
}

impl<'a> IntoIterator for &'a TagList {
    type Item = &'a str;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The tags of a list in stored order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    list: &'a TagList,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.front == self.back {
            return None;
        }
        self.front += 1;
        Some(self.list.get(self.front - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.back - self.front, Some(self.back - self.front))
    }

    fn nth(&mut self, n: usize) -> Option<&'a str> {
        self.front = self.front.saturating_add(n).min(self.back);
        self.next()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back -= 1;
        Some(self.list.get(self.back))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Returns eight bytes of the tag behind `skip`, such that numbers compare as the bytes do.
fn key(tag: &str, skip: usize) -> u64 {
    let mut bytes = [0; 8];
    let rest = &tag.as_bytes()[skip..];
    let n = rest.len().min(8);
    bytes[..n].copy_from_slice(&rest[..n]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::TagList;

    #[test]
    fn any_order_sorts_to_the_same_list() {
        let mut state = 7_u64;
        let mut random = move |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        for _ in 0..500 {
            let n_tags = random(20);
            let tags: Vec<String> = (0..n_tags)
                .map(|_| {
                    let prefix = if random(8) == 0 { "" } else { "v1.2." };
                    let n_letters = random(12);
                    let letters = (0..n_letters).map(|_| ["a", "b", "\0", "é"][random(4)]);
                    prefix.to_owned() + &letters.collect::<String>()
                })
                .collect();
            let mut list: TagList = tags.iter().map(String::as_str).collect();
            let mut expected: Vec<&str> = tags.iter().map(String::as_str).collect();
            list.sort_descending();
            expected.sort_by(|a, b| b.cmp(a));
            assert_eq!(list.iter().collect::<Vec<_>>(), expected);
            list.sort_descending();
            assert_eq!(list.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_tag_costs_its_name_and_a_little() {
        let mut list = TagList::new();
        for n in 0..10_000_u64 {
            list.push(&format!("branch-dev-{:010}-{:05}", n * 26_543 % 10_000_000_000, n));
        }
        list.sort_descending();
        assert_eq!(list.get(0).len(), 27);
        assert!(list.memory() <= 40 * list.len(), "{} bytes", list.memory());
    }

    #[test]
    fn iteration_works_from_both_ends() {
        let list: TagList = ["a", "", "ccc", "d"].into_iter().collect();
        let mut tags = list.iter();
        assert_eq!(tags.len(), 4);
        assert_eq!(
            (tags.next_back(), tags.next(), tags.nth(1)),
            (Some("d"), Some("a"), Some("ccc"))
        );
        assert_eq!((tags.next(), tags.next_back(), tags.nth(5)), (None, None, None));
        assert_eq!(list.retain(|tag| tag.len() == 1).latest(10), ["a", "d"]);
    }
}
