use testkit::rows::each_row;

use super::*;

fn cause(pattern: &str) -> String {
    compile(pattern).expect_err(pattern).cause
}

#[test]
fn plain_patterns_stay_as_written() {
    let rows = [
        "",
        "web-1|web-2|web-3",
        r"web\.example|db",
        "^(.*)_total$",
        "^(?P<base>.*?)_(?:sum|count)$",
        "(?i)^http[a-z0-9_.-]+(?-i)x{2,3}?",
        r"a\-b\/\n\x41\x{1F600}\.",
        "[^a-z]+[-_][[:alpha:][:^digit:]_-]",
        "é|ß",
    ];
    each_row(rows, |pattern| {
        assert_eq!(translate(pattern).as_deref(), Ok(pattern));
    });
}

#[test]
fn what_the_regex_crate_reads_otherwise_is_rewritten() {
    let rows = [
        (r"\Qx.y\E", r"x\.y"),
        ("^x{", r"^x\{"),
        ("[[a-z]_x", r"[\[a-z]_x"),
        ("a{,3}", r"a\{,3}"),
        ("[x&&y]", r"[x\&\&y]"),
        (r"[\w-.]+", r"[0-9A-Za-z_\-.]+"),
        (r"\<a\>", "<a>"),
        (r"\155\0", r"m\x{0}"),
        (r"\d\W\s", r"[0-9][^0-9A-Za-z_][\t\n\f\r ]"),
        (r"[\D\s]", r"[[^0-9]\t\n\f\r ]"),
        (r"\bx\B", r"(?-u:\b)x(?-u:\B)"),
        ("[a--b]", ""),
        ("[+--]", r"[+-\-]"),
        ("(?U)a+b+?", "a+?b+"),
        ("(?)a(?ii)b(?s-i)c", "a(?i)b(?s-i)c"),
        ("a*(?i)?b", "(?:a*)?(?i)b"),
        (r"a+\Q\E*", "(?:a+)*"),
        ("(?P<n>a)(?<n>b)(?<1>c)", "(?P<n>a)(b)(c)"),
        (r"\pL\P{^Greek}", r"\p{l}\p{greek}"),
        (r"[^\x{D800}-\x{DFFF}]", r"[^[^\x{0}-\x{10FFFF}]]"),
    ];
    each_row(rows, |(pattern, translated)| {
        assert_eq!(translate(pattern).unwrap_or_default(), translated, "{pattern}");
    });
}

#[test]
fn what_go_refuses_is_refused_with_the_reason_and_the_place() {
    let rows = [
        ("a**", "expected one repetition, found \"*\" after another at byte 2"),
        ("a|*", "nothing to repeat before \"*\" at byte 2"),
        ("a{2,1}", "expected counts from low to high, up to 1000, found \"{2,1}\" at byte 1"),
        ("a{1001}", "expected counts from low to high, up to 1000, found \"{1001}\" at byte 1"),
        ("(x{1000}){1000}", "expected at most 1000 copies of a part, found more with \"{1000}\" at byte 9"),
        ("(?x)a", "expected a group or flags of i, m, s and U, found \"(?x)a\" at byte 0"),
        ("a(?=b)", "expected a group or flags of i, m, s and U, found \"(?=b)\" at byte 1"),
        ("(?P<é>a)", "expected a name of A-Z, a-z, 0-9 and _ in < and >, found \"(?P<é>a)\" at byte 0"),
        (r"ab\C", r#"unknown escape sequence "\\C" at byte 2"#),
        (r"\u006d", r#"unknown escape sequence "\\u" at byte 0"#),
        (r"\1", r#"unknown escape sequence "\\1" at byte 0"#),
        (r"a\", "expected a character after the backslash, found the end at byte 1"),
        (r"[a-\d]", r#"unknown escape sequence "\\d" at byte 3"#),
        ("[z-a]", "expected a range from low to high, found \"z-a\" at byte 1"),
        ("[[:nope:]]", "unknown class \"[:nope:]\" at byte 1"),
        (r"a\p{Nope}", r#"unknown class "\\p{Nope}" at byte 1"#),
        ("x[a", "missing ] for the [ at byte 1"),
        ("x(a", "missing ) for the ( at byte 1"),
        ("x)", "unexpected ) at byte 1"),
    ];
    each_row(rows, |(pattern, expected)| {
        assert_eq!(cause(pattern), expected, "{pattern}");
    });
    let error = compile("x)").expect_err("refused");
    assert_eq!(error.to_string(), "expected a regular expression, found \"x)\": unexpected ) at byte 1");
}

#[test]
fn what_has_no_equal_here_is_refused() {
    assert!(cause(r"\x{D800}").contains("a half of a UTF-16 pair"));
    assert!(cause(r"[a\x{DFFF}]").contains("a half of a UTF-16 pair"));
}

#[test]
fn a_matcher_matches_line_breaks_and_the_whole() {
    let rows = [
        (".+", "x\ny", true),
        ("x.*", "x\ny", true),
        ("(?-s)x.*", "x\ny", false),
        ("x|y", "xy", false),
        ("(?i)X", "x", true),
        (r"\Qx", "x", true),
        ("", "", true),
        ("", "x", false),
        ("x$", "x\n", false),
    ];
    each_row(rows, |(pattern, text, expected)| {
        let matcher = compile_matcher(pattern).expect("a pattern");
        assert_eq!(matcher.is_match(text), expected, "{pattern} on {text:?}");
        assert_eq!(matcher.as_str(), pattern);
    });
    // It is one pattern, not a part of a larger one.
    assert!(compile_matcher("a)|(b").is_err());
    assert!(!compile(".+").expect("a pattern").is_match("\n"));
}

#[test]
fn a_query_with_a_pattern_that_go_refuses_is_refused_at_its_place() {
    each_row(["x**", "a)|(b", r"\C"], |pattern| {
        let error = crate::parse(&format!("n{{a=~{pattern:?}}}")).expect_err(pattern).to_string();
        assert!(error.starts_with("1:6: parse error: expected a regular expression, found"), "{error}");
    });
    for pattern in [r"[\d-z]", r"\Qa|b\E", "[[a]", r"\0", "x{,3}", ".+"] {
        crate::parse(&format!("n{{a=~{pattern:?}}}")).expect(pattern);
    }
}

#[test]
fn templates_expand_as_in_go() {
    let rows = [
        ("(x)", "$1_y", ""),
        ("(x)", "${1}_y", "x_y"),
        ("(?P<n>x)", "$n-${n}$$", "x-x$"),
        ("(?P<01>x)", "$01-$1-$001", "x-x-"),
        ("(?P<n>a)?(?P<n>x)", "$n", "x"),
        ("(x)", "$ ${ ${1 ${-} $9 $9999999999", "$ ${ ${1 ${-}  "),
        ("(x)", "$1é $1ⅷ", " xⅷ"),
        ("(x){0}x", "$1", ""),
    ];
    each_row(rows, |(pattern, template, expected)| {
        let captures = compile(pattern).expect("a pattern");
        let captures = captures.captures("x").expect("a match");
        assert_eq!(captures.expand(template), expected, "{pattern} {template}");
    });
}

#[test]
fn hostile_patterns_end_soon_and_never_the_process() {
    let deep = |count: usize, open: &str, close: &str| open.repeat(count) + "a" + &close.repeat(count);
    let depth = translate::MAX_NESTING;
    each_row([("(", ")"), ("(?:", "|b)*"), ("(?i:x", "y)+"), ("(a|b", "){0,1}c")], |(open, close)| {
        compile(&deep(depth, open, close)).expect("as deep as may be");
        assert!(cause(&deep(depth + 1, open, close)).contains("groups in each other"));
        cause(&deep(100_000, open, close));
    });
    let rows = [
        ("a".repeat((1 << 20) + 1), "expected at most 1048576 bytes"),
        (r"\pL".repeat(100_000), "classes of Unicode"),
        (r"(?i)[\pL]".repeat(100_000), "classes of Unicode"),
        (r"\pL{1000}".repeat(100), "bytes compiled"),
        (r".{1000}".repeat(10_000), "bytes compiled"),
        ("()".repeat(100_000), "capture groups"),
        ("(a)".repeat(1000), "bytes compiled"),
        ("a".to_owned() + &"(?i)*".repeat(100_000), "repetitions of a part"),
        ("{".repeat(1 << 20), "bytes compiled"),
        ("[:".repeat(1 << 19), "missing ]"),
        ("[".to_owned() + &"[:".repeat((1 << 19) - 1), "missing ]"),
        ("(?P<a".repeat(200_000), "expected a name"),
    ];
    each_row(rows, |(pattern, expected)| {
        let cause = cause(&pattern);
        assert!(cause.contains(expected), "{pattern:.20}: {cause}");
    });
    let error = compile(&"(".repeat(1000)).expect_err("unbalanced").to_string();
    assert!(error.len() < 400, "{error}");
}
