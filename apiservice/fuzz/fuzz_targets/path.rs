//! Whatever path and query a caller sends: segments hold nothing that a second parser could read otherwise, and access
//! control sees the very segments that are answered.

#![no_main]

use apiservice::attributes::{Attributes, segments};
use apiservice::query::QueryParameters;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (path, query) = input;
    let Ok(segments) = segments(path) else { return };
    for segment in &segments {
        assert!(!matches!(segment.as_str(), "" | "." | ".."), "{path:?}");
        assert!(!segment.chars().any(char::is_control), "{path:?}");
    }
    let attributes = Attributes::of(&Method::GET, path, &segments, &QueryParameters::parse(query));
    if let Some(resource) = attributes.resource {
        assert!(segments.contains(&resource.resource), "{path:?}");
        assert!(resource.namespace.is_empty() || segments.contains(&resource.namespace), "{path:?}");
    }
});
