//! The headers of a request, before anything waits: how much they weigh, and which of them are kept.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

use crate::limits::FREE_HEAD_BYTES;

/// Leaves out what nothing reads of a head that is large or has many fields. What is kept no longer holds on to the
/// buffer in which it arrived. Says how many bytes the headers and the path take. A usual head over HTTP/1.1 is not
/// weighed: its bytes were counted as they came.
pub(crate) fn trim<B>(request: &mut Request<B>, is_read: impl Fn(&HeaderName) -> bool) -> usize {
    if request.version() != Version::HTTP_2 && request.headers().len() <= USUAL_FIELDS {
        return 0;
    }
    let of_path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers_mut();
    let weight = weight(headers);
    if headers.len() <= USUAL_FIELDS && weight <= FREE_HEAD_BYTES {
        return of_path + weight;
    }
    let mut kept = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_read(name)) {
        // A value that was one can be made again.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            kept.append(name.clone(), value);
        }
    }
    *headers = kept;
    of_path + self::weight(headers)
}

fn weight(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// What a field takes in memory besides its name and value.
const FIELD_BYTES: usize = 72;
/// More than a usual request has.
const USUAL_FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, String)]) -> Request<()> {
        let mut request = Request::get("/p").version(Version::HTTP_2).body(()).expect("a request");
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        request
    }

    #[test]
    fn a_usual_head_stays_as_it_is() {
        let mut usual = request(&[("accept", "a".into()), ("x-unread", "b".into())]);
        let weight = trim(&mut usual, |name| name == "accept");
        assert_eq!((usual.headers().len(), weight), (2, 2 + 6 + 1 + 8 + 1 + 2 * FIELD_BYTES));
    }

    #[test]
    fn of_a_head_with_many_fields_stays_what_is_read() {
        let many: Vec<_> =
            (0..1000).map(|_| ("x-unread", "b".into())).chain([("accept", "a".into())]).collect();
        let mut many = request(&many);
        let weight = trim(&mut many, |name| name == "accept");
        assert_eq!(many.headers().len(), 1);
        assert_eq!(many.headers()["accept"], "a");
        assert_eq!(weight, 2 + 6 + 1 + FIELD_BYTES);
    }

    #[test]
    fn of_a_large_head_stays_what_is_read() {
        let mut large = request(&[("accept", "a".into()), ("x-unread", "b".repeat(FREE_HEAD_BYTES))]);
        trim(&mut large, |name| name == "accept");
        assert_eq!(large.headers().len(), 1);
    }

    #[test]
    fn every_value_of_a_header_is_kept_in_order() {
        let groups: Vec<_> = (0..100).map(|group| ("x-remote-group", format!("g{group}"))).collect();
        let mut groups = request(&groups);
        trim(&mut groups, |_| true);
        let kept: Vec<_> = groups.headers().get_all("x-remote-group").iter().collect();
        assert_eq!((kept.len(), kept[0].as_bytes(), kept[99].as_bytes()), (100, &b"g0"[..], &b"g99"[..]));
    }
}
