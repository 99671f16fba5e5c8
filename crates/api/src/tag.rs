//! A registry's tags, compactly.

use std::fmt::Write as _;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

/// A list of tags: one text, and four bytes for each tag.
///
/// Duplicates are kept. What depends on the order (`revision`, `latest`) is Flux's
/// once [`sort_descending`](TagList::sort_descending) was called.
#[derive(Clone, Default)]
pub struct TagList {
    text: String,
    /// Where each tag ends in `text`.
    ends: Vec<u32>,
    /// Whether the tags are known to descend; equal lists may differ in it.
    descends: bool,
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
        self.descends = false;
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
        &self.text[self.start(index) as usize..self.ends[index] as usize]
    }

    /// Returns the tags in stored order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// Returns, in stored order, all tags that begin with `prefix`; others too, unless the list was
    /// sorted: then the search costs the logarithm of its length.
    pub fn candidates(&self, prefix: &str) -> Iter<'_> {
        if !self.descends || prefix.is_empty() {
            return self.iter();
        }
        let start = self.partition_point(|tag| tag > prefix && !tag.starts_with(prefix));
        let end = self.partition_point(|tag| tag >= prefix);
        self.range(start..end)
    }

    /// Sorts by bytes, the last first, and gives spare memory back.
    pub fn sort_descending(&mut self) {
        if !self.descends {
            self.sort();
            self.descends = true;
        }
        self.shrink();
    }

    /// Returns the list of the tags that `keep` holds on to, in stored order.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) -> TagList {
        let mut kept: TagList = self.iter().filter(|tag| keep(tag)).collect();
        kept.shrink();
        kept.descends = self.descends;
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

    /// Returns where the tag at `index` starts in the text.
    fn start(&self, index: usize) -> u32 {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    fn range(&self, range: Range<usize>) -> Iter<'_> {
        let start = self.start(range.start);
        let end = self.start(range.end);
        let text = &self.text[start as usize..end as usize];
        Iter { text, start, ends: &self.ends[range] }
    }

    /// Returns the index of the first tag for which `before` does not hold, given that it holds for
    /// none behind that.
    fn partition_point(&self, before: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match before(self.get(middle)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    fn sort(&mut self) {
        let descends = self.iter().zip(self.iter().skip(1)).all(|(a, b)| a >= b);
        if descends {
            return;
        }
        // Registries answer in ascending order more often than not.
        let ascends = self.iter().zip(self.iter().skip(1)).all(|(a, b)| a <= b);
        *self = if ascends { self.reordered(self.iter().rev()) } else { self.sorted() };
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
            descends: false,
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

impl PartialEq for TagList {
    fn eq(&self, other: &TagList) -> bool {
        self.ends == other.ends && self.text == other.text
    }
}

impl Eq for TagList {}

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

/// Tags of a list in stored order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    /// The text of the tags that remain.
    text: &'a str,
    /// Where it starts in the text of the list.
    start: u32,
    /// Where each tag that remains ends in the text of the list.
    ends: &'a [u32],
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let (end, ends) = self.ends.split_first()?;
        let (tag, text) = self.text.split_at((end - self.start) as usize);
        (self.text, self.start, self.ends) = (text, *end, ends);
        Some(tag)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ends.len(), Some(self.ends.len()))
    }

    fn nth(&mut self, n: usize) -> Option<&'a str> {
        let (skipped, ends) = self.ends.split_at(n.min(self.ends.len()));
        let start = skipped.last().copied().unwrap_or(self.start);
        self.text = &self.text[(start - self.start) as usize..];
        (self.start, self.ends) = (start, ends);
        self.next()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, ends) = self.ends.split_last()?;
        let start = ends.last().copied().unwrap_or(self.start);
        let (text, tag) = self.text.split_at((start - self.start) as usize);
        (self.text, self.ends) = (text, ends);
        Some(tag)
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

    /// Returns a generator of numbers below a limit.
    fn generator() -> impl FnMut(usize) -> usize {
        let mut state = 7_u64;
        move |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        }
    }

    fn some_tags(random: &mut impl FnMut(usize) -> usize) -> Vec<String> {
        let n_tags = random(20);
        let tag = |_| {
            let prefix = if random(8) == 0 { "" } else { "v1.2." };
            let n_letters = random(12);
            let letters = (0..n_letters).map(|_| ["a", "b", "\0", "é"][random(4)]);
            prefix.to_owned() + &letters.collect::<String>()
        };
        (0..n_tags).map(tag).collect()
    }

    #[test]
    fn any_order_sorts_to_the_same_list() {
        let mut random = generator();
        for _ in 0..500 {
            let tags = some_tags(&mut random);
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
    fn candidates_are_all_that_begin_so_and_only_those_once_sorted() {
        let mut random = generator();
        for _ in 0..500 {
            let tags = some_tags(&mut random);
            let mut list: TagList = tags.iter().map(String::as_str).collect();
            let prefix =
                ["", "v", "v1.2.", "v1.2.a", "v1.2.\0b", "v1.2.é", "w", "a", "~"][random(9)];
            let matching = |list: &TagList| list.retain(|tag| tag.starts_with(prefix));
            let found: TagList = list.candidates(prefix).collect();
            assert_eq!(matching(&found), matching(&list), "{prefix:?} {list:?}");
            list.sort_descending();
            let found: TagList = list.candidates(prefix).collect();
            assert_eq!(found, matching(&list), "{prefix:?} {list:?}");
            // What is left of a sorted list is sorted, and one more tag may end that.
            let mut fewer = list.retain(|tag| tag.len() % 2 == 0);
            assert_eq!(fewer.candidates(prefix).collect::<TagList>(), matching(&fewer));
            fewer.push(prefix);
            fewer.push("~~");
            assert!(fewer.candidates(prefix).any(|tag| tag == prefix));
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
