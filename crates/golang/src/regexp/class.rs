//! Character classes: `[…]`, `\d`, `[:alpha:]`, `\p{…}`, and Go's folding of case.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};
use std::sync::OnceLock;

/// Code points that the tables of `regex-syntax` (Unicode 16) know and Go's (Unicode 15) do not:
/// to Go they are unassigned, belong to no script and fold to themselves.
const UNASSIGNED_IN_GO: &[(u32, u32)] = &[
    (0x0897, 0x0897),
    (0x1B4E, 0x1B4F),
    (0x1B7F, 0x1B7F),
    (0x1C89, 0x1C8A),
    (0x2427, 0x2429),
    (0x2FFC, 0x2FFF),
    (0x31E4, 0x31E5),
    (0x31EF, 0x31EF),
    (0xA7CB, 0xA7CD),
    (0xA7DA, 0xA7DC),
    (0x105C0, 0x105F3),
    (0x10D40, 0x10D65),
    (0x10D69, 0x10D85),
    (0x10D8E, 0x10D8F),
    (0x10EC2, 0x10EC4),
    (0x10EFC, 0x10EFC),
    (0x11380, 0x11389),
    (0x1138B, 0x1138B),
    (0x1138E, 0x1138E),
    (0x11390, 0x113B5),
    (0x113B7, 0x113C0),
    (0x113C2, 0x113C2),
    (0x113C5, 0x113C5),
    (0x113C7, 0x113CA),
    (0x113CC, 0x113D5),
    (0x113D7, 0x113D8),
    (0x113E1, 0x113E2),
    (0x116D0, 0x116E3),
    (0x11BC0, 0x11BE1),
    (0x11BF0, 0x11BF9),
    (0x11F5A, 0x11F5A),
    (0x13460, 0x143FA),
    (0x16100, 0x16139),
    (0x16D40, 0x16D79),
    (0x18CFF, 0x18CFF),
    (0x1CC00, 0x1CCF9),
    (0x1CD00, 0x1CEB3),
    (0x1E5D0, 0x1E5FA),
    (0x1E5FF, 0x1E5FF),
    (0x1F8B2, 0x1F8BB),
    (0x1F8C0, 0x1F8C1),
    (0x1FA89, 0x1FA89),
    (0x1FA8F, 0x1FA8F),
    (0x1FABE, 0x1FABE),
    (0x1FAC6, 0x1FAC6),
    (0x1FADC, 0x1FADC),
    (0x1FADF, 0x1FADF),
    (0x1FAE9, 0x1FAE9),
    (0x1FBCB, 0x1FBEF),
    (0x2EBF0, 0x2EE5D),
];

/// A character that is a nonspacing mark (Mn) to Go and a spacing one (Mc) since Unicode 16.
const MOVED: char = '\u{1171E}';

/// A set of characters under construction: its parts are sorted and merged once, at the end.
#[derive(Default)]
pub(super) struct Set {
    ranges: Vec<ClassUnicodeRange>,
}

impl Set {
    /// Adds the code points `low..=high`. Surrogates are left out: no text holds one.
    pub(super) fn add(&mut self, low: u32, high: u32) {
        let below = (low, high.min(0xD7FF));
        let above = (low.max(0xE000), high.min(0x10_FFFF));
        for (low, high) in [below, above] {
            if let (Some(low), Some(high)) = (char::from_u32(low), char::from_u32(high))
                && low <= high
            {
                self.ranges.push(ClassUnicodeRange::new(low, high));
            }
        }
    }

    /// Adds the code points `low..=high` and all that differ from them in case only.
    pub(super) fn add_folded(&mut self, low: u32, high: u32) {
        let mut part = Set::default();
        part.add(low, high);
        self.extend(&fold(part.finish()));
    }

    /// Adds a whole class.
    pub(super) fn extend(&mut self, class: &ClassUnicode) {
        self.ranges.extend_from_slice(class.ranges());
    }

    /// Returns the number of ranges added so far.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the set as a class.
    pub(super) fn finish(self) -> ClassUnicode {
        ClassUnicode::new(self.ranges)
    }
}

/// Returns the class and all that differs from its members in case only, as Go folds.
pub(super) fn fold(class: ClassUnicode) -> ClassUnicode {
    let mut folded = class.clone();
    folded.difference(unfolded_in_go());
    folded.case_fold_simple();
    folded.difference(unfolded_in_go());
    folded.union(&class);
    folded
}

/// Returns the class of `\d`, `\S` and the like, by the letter.
pub(super) fn perl(letter: u8, folded: bool) -> Option<ClassUnicode> {
    let ranges: &[(u8, u8)] = match letter.to_ascii_lowercase() {
        b'd' => &[(b'0', b'9')],
        b's' => &[(b'\t', b'\n'), (0x0C, b'\r'), (b' ', b' ')],
        b'w' => WORD,
        _ => return None,
    };
    Some(group(ranges, letter.is_ascii_uppercase(), folded))
}

/// Returns the class of `[:alpha:]`, `[:^space:]` and the like, by the whole text.
pub(super) fn posix(name: &[u8], folded: bool) -> Option<ClassUnicode> {
    let name = name.strip_prefix(b"[:")?.strip_suffix(b":]")?;
    let (negated, name) = match name.strip_prefix(b"^") {
        Some(name) => (true, name),
        None => (false, name),
    };
    let ranges: &[(u8, u8)] = match name {
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"ascii" => &[(0, 0x7F)],
        b"blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        b"cntrl" => &[(0, 0x1F), (0x7F, 0x7F)],
        b"digit" => &[(b'0', b'9')],
        b"graph" => &[(b'!', b'~')],
        b"lower" => &[(b'a', b'z')],
        b"print" => &[(b' ', b'~')],
        b"punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        b"space" => &[(b'\t', b'\r'), (b' ', b' ')],
        b"upper" => &[(b'A', b'Z')],
        b"word" => WORD,
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    };
    Some(group(ranges, negated, folded))
}

/// Returns the class that `\p{name}` stands for.
pub(super) fn unicode(name: &str, negated: bool, folded: bool) -> Option<ClassUnicode> {
    let mut class = table(&canonical(name))?;
    if folded {
        class = fold(class);
    }
    if negated {
        class.negate();
    }
    Some(class)
}

/// Reports whether Go's `unicode.IsLetter` or `unicode.IsDigit` holds.
pub(super) fn is_letter_or_digit(c: char) -> bool {
    static CLASS: OnceLock<ClassUnicode> = OnceLock::new();
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let class = CLASS.get_or_init(|| {
        let mut class = property("gc=L");
        class.union(&property("gc=Nd"));
        class
    });
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after > 0 && c <= ranges[after - 1].end()
}

const WORD: &[(u8, u8)] = &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')];

fn group(ranges: &[(u8, u8)], negated: bool, folded: bool) -> ClassUnicode {
    let mut set = Set::default();
    for &(low, high) in ranges {
        match folded {
            true => set.add_folded(low.into(), high.into()),
            false => set.add(low.into(), high.into()),
        }
    }
    let mut class = set.finish();
    if negated {
        class.negate();
    }
    class
}

/// Returns the name as Go looks it up: a capital first, then small letters, without ` `, `_` and `-`.
fn canonical(name: &str) -> String {
    let mut canonical = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')) {
        match canonical.is_empty() {
            true => canonical.push(c.to_ascii_uppercase()),
            false => canonical.push(c.to_ascii_lowercase()),
        }
    }
    canonical
}

fn table(name: &str) -> Option<ClassUnicode> {
    let class = match name {
        "Any" => every(),
        "Assigned" => {
            let mut class = property("gc=Cn");
            class.negate();
            class
        }
        "Ascii" => group(&[(0, 0x7F)], false, false),
        name => match category(name) {
            Some(category) => property(&format!("gc={category}")),
            None => property(&format!("sc={}", SCRIPTS[SCRIPTS.binary_search(&name).ok()?])),
        },
    };
    Some(class)
}

/// Returns the short name of a general category that Go knows by this canonical name.
fn category(name: &str) -> Option<&'static str> {
    let index = CATEGORIES.binary_search_by_key(&name, |(long, _)| long).ok()?;
    Some(CATEGORIES[index].1)
}

/// Returns a property's class in Go's version of Unicode.
fn property(query: &str) -> ClassUnicode {
    let pattern = format!("\\p{{{query}}}");
    let hir = regex_syntax::parse(&pattern).map(regex_syntax::hir::Hir::into_kind);
    let mut class = match hir {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        // A class of one character is given as that character.
        Ok(HirKind::Literal(literal)) => {
            let mut set = Set::default();
            for c in String::from_utf8_lossy(&literal.0).chars() {
                set.add(c.into(), c.into());
            }
            set.finish()
        }
        // No category or script of Go's list is unknown to regex-syntax: a test asks for each.
        _ => ClassUnicode::empty(),
    };
    match query {
        "gc=C" | "gc=Cn" => class.union(unassigned_in_go()),
        _ => class.difference(unassigned_in_go()),
    }
    // The one character that changed its category.
    let moved = ClassUnicode::new([ClassUnicodeRange::new(MOVED, MOVED)]);
    match query {
        "gc=Mn" => class.union(&moved),
        "gc=Mc" => class.difference(&moved),
        _ => {}
    }
    class
}

fn every() -> ClassUnicode {
    let mut class = ClassUnicode::empty();
    class.negate();
    class
}

/// Returns what has no other case in Go: what is unassigned, and three pairs that fold since Unicode 15.1.
fn unfolded_in_go() -> &'static ClassUnicode {
    static CLASS: OnceLock<ClassUnicode> = OnceLock::new();
    CLASS.get_or_init(|| {
        let mut set = Set::default();
        set.extend(unassigned_in_go());
        for code in [0x0390, 0x1FD3, 0x03B0, 0x1FE3, 0xFB05, 0xFB06] {
            set.add(code, code);
        }
        set.finish()
    })
}

fn unassigned_in_go() -> &'static ClassUnicode {
    static CLASS: OnceLock<ClassUnicode> = OnceLock::new();
    CLASS.get_or_init(|| {
        let mut set = Set::default();
        for &(low, high) in UNASSIGNED_IN_GO {
            set.add(low, high);
        }
        set.finish()
    })
}

/// General categories: every name that Go knows, in its canonical form, and the short name.
const CATEGORIES: &[(&str, &str)] = &[
    ("C", "C"),
    ("Casedletter", "LC"),
    ("Cc", "Cc"),
    ("Cf", "Cf"),
    ("Closepunctuation", "Pe"),
    ("Cn", "Cn"),
    ("Cntrl", "Cc"),
    ("Co", "Co"),
    ("Combiningmark", "M"),
    ("Connectorpunctuation", "Pc"),
    ("Control", "Cc"),
    ("Cs", "Cs"),
    ("Currencysymbol", "Sc"),
    ("Dashpunctuation", "Pd"),
    ("Decimalnumber", "Nd"),
    ("Digit", "Nd"),
    ("Enclosingmark", "Me"),
    ("Finalpunctuation", "Pf"),
    ("Format", "Cf"),
    ("Initialpunctuation", "Pi"),
    ("L", "L"),
    ("Lc", "LC"),
    ("Letter", "L"),
    ("Letternumber", "Nl"),
    ("Lineseparator", "Zl"),
    ("Ll", "Ll"),
    ("Lm", "Lm"),
    ("Lo", "Lo"),
    ("Lowercaseletter", "Ll"),
    ("Lt", "Lt"),
    ("Lu", "Lu"),
    ("M", "M"),
    ("Mark", "M"),
    ("Mathsymbol", "Sm"),
    ("Mc", "Mc"),
    ("Me", "Me"),
    ("Mn", "Mn"),
    ("Modifierletter", "Lm"),
    ("Modifiersymbol", "Sk"),
    ("N", "N"),
    ("Nd", "Nd"),
    ("Nl", "Nl"),
    ("No", "No"),
    ("Nonspacingmark", "Mn"),
    ("Number", "N"),
    ("Openpunctuation", "Ps"),
    ("Other", "C"),
    ("Otherletter", "Lo"),
    ("Othernumber", "No"),
    ("Otherpunctuation", "Po"),
    ("Othersymbol", "So"),
    ("P", "P"),
    ("Paragraphseparator", "Zp"),
    ("Pc", "Pc"),
    ("Pd", "Pd"),
    ("Pe", "Pe"),
    ("Pf", "Pf"),
    ("Pi", "Pi"),
    ("Po", "Po"),
    ("Privateuse", "Co"),
    ("Ps", "Ps"),
    ("Punct", "P"),
    ("Punctuation", "P"),
    ("S", "S"),
    ("Sc", "Sc"),
    ("Separator", "Z"),
    ("Sk", "Sk"),
    ("Sm", "Sm"),
    ("So", "So"),
    ("Spaceseparator", "Zs"),
    ("Spacingmark", "Mc"),
    ("Surrogate", "Cs"),
    ("Symbol", "S"),
    ("Titlecaseletter", "Lt"),
    ("Unassigned", "Cn"),
    ("Uppercaseletter", "Lu"),
    ("Z", "Z"),
    ("Zl", "Zl"),
    ("Zp", "Zp"),
    ("Zs", "Zs"),
];

/// Scripts that Go knows; those of two words it cannot look up (`\p{Old_Italic}` is an error).
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Carian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dogra",
    "Duployan",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Medefaidrin",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "Newa",
    "Nko",
    "Nushu",
    "Ogham",
    "Oriya",
    "Osage",
    "Osmanya",
    "Palmyrene",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "Sinhala",
    "Sogdian",
    "Soyombo",
    "Sundanese",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Yezidi",
    "Yi",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[derive(serde::Deserialize)]
    struct Table {
        kind: String,
        name: String,
        ranges: Vec<(u32, u32)>,
    }

    fn tables() -> Vec<Table> {
        let file = include_bytes!("../../tests/golden/unicode.jsonl.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&file[..]).read_to_string(&mut text).expect("gzip of text");
        text.lines().map(|line| serde_json::from_str(line).expect("a table")).collect()
    }

    fn ranges(class: &ClassUnicode) -> Vec<(u32, u32)> {
        class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
    }

    #[test]
    fn every_category_and_script_has_the_characters_that_go_gives_it() {
        let tables = tables();
        assert!(tables.len() > 200);
        let mut differences = Vec::new();
        for table in tables.iter().filter(|table| table.kind != "fold") {
            let mut expected = Set::default();
            for &(low, high) in &table.ranges {
                expected.add(low, high);
            }
            let known = !table.name.contains('_') && table.name != "SignWriting";
            let class = unicode(&table.name, false, false);
            assert_eq!(class.is_some(), known, "{}", table.name);
            if let Some(class) = class {
                let expected = expected.finish();
                let mut missing = expected.clone();
                missing.difference(&class);
                let mut extra = class;
                extra.difference(&expected);
                differences.push((table.name.clone(), ranges(&missing), ranges(&extra)));
            }
        }
        differences.retain(|(_, missing, extra)| !missing.is_empty() || !extra.is_empty());
        assert_eq!(differences, []);
    }

    #[test]
    fn case_folds_as_in_go() {
        let tables = tables();
        let table = tables.iter().find(|table| table.kind == "fold").expect("the fold table");
        let mut orbits = vec![vec![]; 0x2_0000];
        for &(from, _) in &table.ranges {
            let mut next = from;
            loop {
                orbits[from as usize].push(next);
                next = table.ranges[table.ranges.partition_point(|pair| pair.0 < next)].1;
                if next == from {
                    break;
                }
            }
        }
        for code in (0..0x2_0000).filter(|&code| char::from_u32(code).is_some()) {
            let mut set = Set::default();
            set.add_folded(code, code);
            let mut expected = std::mem::take(&mut orbits[code as usize]);
            if expected.is_empty() {
                expected.push(code);
            }
            expected.sort_unstable();
            let folded = set.finish();
            let folded: Vec<u32> = folded
                .ranges()
                .iter()
                .flat_map(|range| u32::from(range.start())..=u32::from(range.end()))
                .collect();
            assert_eq!(folded, expected, "U+{code:04X}");
        }
    }
}
