//! What Kubernetes accepts as a name. Nothing else may reach PromQL.

/// A lower-case RFC 1123 label of at most 63 characters: what a namespace is called.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_label(text)
}

/// Lower-case RFC 1123 labels joined by dots, at most 253 characters: what an object is called.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= LONGEST_SUBDOMAIN && text.split('.').all(is_label)
}

/// What can be a segment of a path (`k8s.io/apimachinery/pkg/api/validate/content`). The empty text is one, as
/// upstream.
pub fn is_path_segment(text: &str) -> bool {
    !matches!(text, "." | "..") && !text.contains(['/', '%'])
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match text.as_bytes() {
        [] => false,
        [only] => inner(*only),
        [first, middle @ .., last] => {
            inner(*first) && inner(*last) && middle.iter().all(|byte| inner(*byte) || *byte == b'-')
        }
    }
}

const LONGEST_LABEL: usize = 63;
const LONGEST_SUBDOMAIN: usize = 253;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn a_path_segment_holds_nothing_that_a_path_reads_otherwise() {
        each_row(["", "a", "A b", "...", "*"], |good| {
            assert!(is_path_segment(good), "{good}");
        });
        each_row([".", "..", "a/b", "a%2fb"], |bad| {
            assert!(!is_path_segment(bad), "{bad}");
        });
    }

    #[test]
    fn names_are_valid_by_kubernetes_rules() {
        each_row(["a", "web-1", "0", "a--b"], |good| {
            assert!(is_dns_label(good) && is_dns_subdomain(good), "{good}");
        });
        each_row(["", "-a", "a-", "A", "a_b", "a\"b", "a b", "*", "..", "a\n", &"a".repeat(254)], |bad| {
            assert!(!is_dns_label(bad) && !is_dns_subdomain(bad), "{bad}");
        });
        assert!(is_dns_subdomain("a.b") && !is_dns_label("a.b"));
        assert!(!is_dns_subdomain("a..b") && !is_dns_subdomain(".a"));
        assert!(!is_dns_label(&"a".repeat(64)));
    }
}
