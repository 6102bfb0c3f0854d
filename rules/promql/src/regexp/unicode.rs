//! The classes that `\p{...}` names: general categories and scripts, by the names that Go knows.

use super::escape::{ANYTHING, NOTHING};
use super::fault::Fault;

/// The class at the start of a text, which is `\pL`, `\p{Greek}` or `\P{^Greek}`: the same in the regex crate's
/// syntax, and the length of what was read.
pub(super) fn class(text: &str) -> Result<(String, usize), Fault> {
    let unknown = |found: &str| Fault::new(0, format!("unknown class {found:?}"));
    let mut rest = text[2..].chars();
    let (name, length) = match rest.next() {
        None => return Err(unknown(text)),
        Some('{') => {
            let end = text.find('}').ok_or_else(|| unknown(text))?;
            (&text[3..end], end + 1)
        }
        Some(letter) => (&text[2..2 + letter.len_utf8()], 2 + letter.len_utf8()),
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let negated = negated != text.starts_with(r"\P");
    let name = known(name).ok_or_else(|| unknown(&text[..length]))?;
    let written = match (name.as_str(), negated) {
        // Halves of UTF-16 pairs, which no text holds: the regex crate has no such class.
        ("cs" | "surrogate", false) => NOTHING.to_owned(),
        ("cs" | "surrogate", true) => ANYTHING.to_owned(),
        (name, false) => format!(r"\p{{{name}}}"),
        (name, true) => format!(r"\P{{{name}}}"),
    };
    Ok((written, length))
}

/// A name without what makes no difference, as the regex crate knows it; `None` where Go does not know it.
fn known(name: &str) -> Option<String> {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    let is_known = SPECIAL.contains(&plain.as_str())
        || CATEGORIES.binary_search(&plain.as_str()).is_ok()
        || CATEGORY_NAMES.binary_search(&plain.as_str()).is_ok()
        || SCRIPTS.binary_search(&plain.as_str()).is_ok();
    is_known.then_some(plain)
}

const SPECIAL: [&str; 3] = ["any", "assigned", "ascii"];

const CATEGORIES: [&str; 38] = [
    "c", "cc", "cf", "cn", "co", "cs", "l", "lc", "ll", "lm", "lo", "lt", "lu", "m", "mc", "me", "mn", "n",
    "nd", "nl", "no", "p", "pc", "pd", "pe", "pf", "pi", "po", "ps", "s", "sc", "sk", "sm", "so", "z", "zl",
    "zp", "zs",
];

#[rustfmt::skip]
const CATEGORY_NAMES: [&str; 42] = [
    "casedletter", "closepunctuation", "cntrl", "combiningmark", "connectorpunctuation", "control",
    "currencysymbol", "dashpunctuation", "decimalnumber", "digit", "enclosingmark", "finalpunctuation",
    "format", "initialpunctuation", "letter", "letternumber", "lineseparator", "lowercaseletter",
    "mark", "mathsymbol", "modifierletter", "modifiersymbol", "nonspacingmark", "number",
    "openpunctuation", "other", "otherletter", "othernumber", "otherpunctuation", "othersymbol",
    "paragraphseparator", "privateuse", "punct", "punctuation", "separator", "spaceseparator",
    "spacingmark", "surrogate", "symbol", "titlecaseletter", "unassigned", "uppercaseletter",
];

/// Of Unicode 15, as Go has them. Go from 1.25 on refuses names of two words, by mistake; both spellings are taken.
#[rustfmt::skip]
const SCRIPTS: [&str; 163] = [
    "adlam", "ahom", "anatolianhieroglyphs", "arabic", "armenian", "avestan", "balinese", "bamum",
    "bassavah", "batak", "bengali", "bhaiksuki", "bopomofo", "brahmi", "braille", "buginese", "buhid",
    "canadianaboriginal", "carian", "caucasianalbanian", "chakma", "cham", "cherokee", "chorasmian",
    "common", "coptic", "cuneiform", "cypriot", "cyprominoan", "cyrillic", "deseret", "devanagari",
    "divesakuru", "dogra", "duployan", "egyptianhieroglyphs", "elbasan", "elymaic", "ethiopic",
    "georgian", "glagolitic", "gothic", "grantha", "greek", "gujarati", "gunjalagondi", "gurmukhi",
    "han", "hangul", "hanifirohingya", "hanunoo", "hatran", "hebrew", "hiragana", "imperialaramaic",
    "inherited", "inscriptionalpahlavi", "inscriptionalparthian", "javanese", "kaithi", "kannada",
    "katakana", "kawi", "kayahli", "kharoshthi", "khitansmallscript", "khmer", "khojki", "khudawadi",
    "lao", "latin", "lepcha", "limbu", "lineara", "linearb", "lisu", "lycian", "lydian", "mahajani",
    "makasar", "malayalam", "mandaic", "manichaean", "marchen", "masaramgondi", "medefaidrin",
    "meeteimayek", "mendekikakui", "meroiticcursive", "meroitichieroglyphs", "miao", "modi",
    "mongolian", "mro", "multani", "myanmar", "nabataean", "nagmundari", "nandinagari", "newa",
    "newtailue", "nko", "nushu", "nyiakengpuachuehmong", "ogham", "olchiki", "oldhungarian",
    "olditalic", "oldnortharabian", "oldpermic", "oldpersian", "oldsogdian", "oldsoutharabian",
    "oldturkic", "olduyghur", "oriya", "osage", "osmanya", "pahawhhmong", "palmyrene", "paucinhau",
    "phagspa", "phoenician", "psalterpahlavi", "rejang", "runic", "samaritan", "saurashtra", "sharada",
    "shavian", "siddham", "signwriting", "sinhala", "sogdian", "sorasompeng", "soyombo", "sundanese",
    "sylotinagri", "syriac", "tagalog", "tagbanwa", "taile", "taitham", "taiviet", "takri", "tamil",
    "tangsa", "tangut", "telugu", "thaana", "thai", "tibetan", "tifinagh", "tirhuta", "toto",
    "ugaritic", "vai", "vithkuqi", "wancho", "warangciti", "yezidi", "yi", "zanabazarsquare",
];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn the_regex_crate_knows_every_name() {
        for name in SPECIAL.iter().chain(&CATEGORIES).chain(&CATEGORY_NAMES).chain(&SCRIPTS) {
            let (written, _) = class(&format!(r"\p{{{name}}}")).expect("a known class");
            regex::Regex::new(&written).expect("a class");
        }
    }

    #[test]
    fn names_are_read_as_go_reads_them() {
        let rows = [
            (r"\pLx", Some((r"\p{l}", 3))),
            (r"\p{Old_Italic}", Some((r"\p{olditalic}", 14))),
            (r"\p{^Greek}", Some((r"\P{greek}", 10))),
            (r"\P{^Greek}", Some((r"\p{greek}", 10))),
            (r"\p{Decimal Number}", Some((r"\p{decimalnumber}", 18))),
            (r"\pé", None),
            (r"\p", None),
            (r"\p{", None),
            (r"\p{}", None),
            (r"\p{Grek}", None),
            (r"\p{Alphabetic}", None),
            (r"\p{^^L}", None),
        ];
        each_row(rows, |(text, written)| {
            let read = class(text).ok();
            assert_eq!(read.as_ref().map(|(text, length)| (text.as_str(), *length)), written, "{text}");
        });
    }
}
