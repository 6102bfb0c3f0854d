//! Whatever a caller accepts: a form that it names, or none.

#![no_main]

use apiservice::negotiate::Accept;
use apiservice::query::QueryParameters;
use http::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| {
    let Ok(request) = Request::get("/").header("accept", header).body(()) else { return };
    let (parts, ()) = request.into_parts();
    let accept = Accept::of(&parts, &QueryParameters::parse(""));
    let text = String::from_utf8_lossy(header);
    if let Some(form) = accept.form() {
        let (kind, _) = form.media_type().split_once('/').unwrap_or_default();
        assert!(text.is_empty() || text.contains('*') || text.contains(kind), "{text:?} → {form:?}");
    }
    let _ = (accept.transformed(), accept.aggregated(), accept.admits_openapi());
});
