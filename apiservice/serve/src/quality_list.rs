//! Lists of alternatives with weights, as in `Accept` and `Accept-Encoding`, read as Go's servers read them.

/// An alternative: `application/json;as=Table;q=0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative<'a> {
    /// What stands before the first `;`, with the spaces around it.
    pub value: &'a str,
    /// What stands after it; `None` without a `;`.
    pub parameters: Option<&'a str>,
}

/// The alternatives of a header's value, in its order. Those that are not text are left out.
pub fn quality_list(header: &[u8]) -> impl Iterator<Item = Alternative<'_>> {
    header.split(|byte| *byte == b',').filter_map(|text| str::from_utf8(text).ok()).map(|text| {
        match text.split_once(';') {
            Some((value, parameters)) => Alternative { value, parameters: Some(parameters) },
            None => Alternative { value: text, parameters: None },
        }
    })
}

impl<'a> Alternative<'a> {
    /// The last of the parameters of a name. One without a value does not count.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters?.rsplit(';').find_map(|parameter| {
            let (found, value) = parameter.split_once('=')?;
            let counts = found.trim_matches(' ') == name && !value.is_empty() && !value.contains('=');
            counts.then(|| value.trim_matches(' '))
        })
    }

    /// The weight: 1 where none is given, 0 where it is not a number.
    pub fn weight(&self) -> f64 {
        self.parameter("q").map_or(1.0, |weight| weight.parse().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_have_parameters_and_a_weight() {
        let header = b"gzip, application/json;as=Table; q=0.5 ;g=,\xff,*;q=x,br;q=0;q=0.25";
        let read: Vec<_> = quality_list(header)
            .map(|one| (one.value, one.weight(), one.parameter("as"), one.parameter("g")))
            .collect();
        assert_eq!(
            read,
            [
                ("gzip", 1.0, None, None),
                (" application/json", 0.5, Some("Table"), None),
                ("*", 0.0, None, None),
                ("br", 0.25, None, None),
            ]
        );
        assert_eq!(quality_list(b"").map(|one| one.value).collect::<Vec<_>>(), [""]);
    }
}
