//! The recorded exchanges, and what of an answer is comparable at all.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::Failure;
use e2e::api::Answer;
use e2e::comparison::{Json, Request, Seen};

/// The requests and what upstream did with them.
pub(crate) fn exchanges(recordings: &Path) -> Result<Vec<(Request, Seen)>, Failure> {
    let text = std::fs::read_to_string(recordings.join("prometheus-adapter-0.12.json"))?;
    let recording: Json = serde_json::from_str(&text)?;
    let mut exchanges: Vec<(Request, Seen)> =
        recording.entries().iter().map(exchange).collect::<Result<_, Failure>>()?;
    // The body of a stream was not kept; it is that of the same request without `watch`.
    for position in 0..exchanges.len() {
        let (request, seen) = &exchanges[position];
        if seen.answer.body == b"(stream)" {
            let plain = request.path.replace("?watch=true", "");
            let (_, twin) = exchanges
                .iter()
                .find(|(request, _)| request.path == plain && request.headers.is_empty())
                .ok_or("a stream without its twin")?;
            let body = twin.answer.body.clone();
            exchanges[position].1.answer.body = body;
        }
    }
    Ok(exchanges)
}

fn exchange(recorded: &Json) -> Result<(Request, Seen), Failure> {
    let text = |path: &[&str]| -> Result<String, Failure> {
        let text = recorded.at(path).and_then(Json::as_text);
        Ok(text.ok_or_else(|| format!("no text at {path:?}: {recorded}"))?.to_owned())
    };
    let headers = |path: &[&str]| -> Vec<(String, String)> {
        let Some(Json::Object(fields)) = recorded.at(path) else { return Vec::new() };
        let field = |(name, value): &(String, Json)| {
            (name.to_lowercase(), value.as_text().unwrap_or_default().to_owned())
        };
        fields.iter().map(field).collect()
    };
    let request = Request {
        method: text(&["request", "method"])?,
        path: text(&["request", "path"])?,
        headers: headers(&["request", "headers"]),
        caller: text(&["request", "who"])?,
    };
    let Some(Json::Number(code)) = recorded.at(&["response", "status"]) else {
        return Err(format!("no status: {recorded}").into());
    };
    let body = match (recorded.at(&["response", "body"]), recorded.at(&["response", "bodyBase64"])) {
        (Some(Json::Text(text)), _) => text.clone().into_bytes(),
        // The final newline of one-line JSON was not kept.
        (Some(json), _) => format!("{json}\n").into_bytes(),
        (None, Some(Json::Text(text))) => STANDARD.decode(text)?,
        _ => return Err(format!("no body: {recorded}").into()),
    };
    let queries = recorded.get("prometheus").map_or(&[][..], Json::entries);
    let queries = queries.iter().filter_map(|query| query.get("query")?.as_text().map(str::to_owned));
    let answer = Answer {
        code: code.as_u64().and_then(|code| u16::try_from(code).ok()).ok_or("a status code")?,
        headers: headers(&["response", "headers"]).into_iter().collect(),
        body,
    };
    Ok((request, Seen { answer, queries: queries.collect(), samples: Vec::new() }))
}

/// Fields that hold another number in every run: counters had started shortly before.
pub(crate) fn growing(request: &Request) -> Vec<&'static str> {
    if request.path.contains("http_requests_per_second") {
        vec!["value"]
    } else if request.path.contains("/metrics.k8s.io/") {
        vec!["cpu"]
    } else {
        Vec::new()
    }
}

/// What is comparable of a document that was not recorded whole.
pub(crate) fn comparable(request: &Request, mut seen: Seen) -> Seen {
    let text = seen.answer.text();
    match (request.path.as_str(), serde_json::from_str(&text)) {
        ("/openapi/v2", Ok(document)) if seen.answer.code == 200 => {
            seen.answer.body = schemas(&document).to_string().into_bytes();
        }
        // The handlers of OpenAPI write none of the final newlines that the others write, and none were recorded.
        ("/openapi/v3", _) => seen.answer.body = text.trim_end().as_bytes().to_vec(),
        _ => {}
    }
    seen
}

/// Of an OpenAPI document the paths of the metrics and the shapes of what they answer: descriptions were not recorded,
/// and the rest is about paths that the aggregator keeps from clients.
fn schemas(document: &Json) -> Json {
    let names = |json: Option<&Json>| -> Vec<String> {
        let Some(Json::Object(fields)) = json else { return Vec::new() };
        fields.iter().map(|(name, _)| name.clone()).collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        Json::List(names.into_iter().map(Json::Text).collect())
    };
    let paths = names(document.get("paths"));
    let paths = paths.into_iter().filter(|path| path.trim_matches('/').split('/').count() > 3).collect();
    let mut shapes: Vec<(String, Json)> = names(document.get("definitions"))
        .into_iter()
        .filter(|name| name.starts_with("io.k8s.metrics."))
        .map(|name| {
            let definition = document.at(&["definitions", &name]);
            let required =
                definition.and_then(|definition| definition.get("required")).map_or(&[][..], Json::entries);
            let required = required.iter().filter_map(|name| name.as_text().map(str::to_owned)).collect();
            let properties = names(definition.and_then(|definition| definition.get("properties")));
            (name, Json::List(vec![sorted(required), sorted(properties)]))
        })
        .collect();
    shapes.sort_by(|(left, _), (right, _)| left.cmp(right));
    let info = document.get("info").cloned().unwrap_or(Json::Null);
    Json::Object(vec![
        ("info".to_owned(), info),
        ("paths".to_owned(), sorted(paths)),
        ("shapes".to_owned(), Json::Object(shapes)),
    ])
}
