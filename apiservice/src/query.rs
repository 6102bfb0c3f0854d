//! Query parameters, read as Go's `url.ParseQuery` does: percent-decoded, `+` is a blank, pairs with a bad escape or a
//! semicolon are dropped.

use percent_encoding::percent_decode;

/// The parameters of a request, in order; a name may occur more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryParameters(Vec<(String, String)>);

impl QueryParameters {
    /// Reads the part of a URL after `?`.
    pub fn parse(text: &str) -> QueryParameters {
        let pairs = text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        QueryParameters(
            pairs
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name)?, decode(value)?))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; `None` when it is not given.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Option<String> {
    let blank = text.replace('+', " ");
    well_escaped(&blank).then(|| percent_decode(blank.as_bytes()).decode_utf8_lossy().into_owned())
}

/// Whether every `%` is followed by two hexadecimal digits.
pub(crate) fn well_escaped(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_go_reads_them() {
        let query = QueryParameters::parse("a=1&b=x+y%2Bz&a=2&c&&d=%zz&e=1;f=2&g=%E4%BD%A0");
        assert_eq!(query.first("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.first("b"), Some("x y+z"));
        assert_eq!(query.first("c"), Some(""));
        assert_eq!(query.first("d"), None);
        assert_eq!(query.first("e"), None);
        assert_eq!(query.first("g"), Some("你"));
    }
}
