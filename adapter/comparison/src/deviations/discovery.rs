//! What discovery documents and lists of paths hold.

use crate::context::{CUSTOM, Context, by_identity, is_plain};
use crate::json::Json;
use crate::normal::{Normal, identity, name_of};

/// `/apis` in its aggregated form lists every group-version that is served.
pub(super) fn aggregated_discovery(expected: &mut Normal, context: &Context<'_>) {
    let kind = |normal: &Normal| normal.json().and_then(|json| json.get("kind")).cloned();
    let aggregated = Some(Json::text("APIGroupDiscoveryList"));
    if kind(expected) != aggregated || kind(context.ours) != aggregated {
        return;
    }
    let served = |normal: &Normal| -> Vec<String> {
        let items = normal.json().and_then(|json| json.get("items")).map_or(&[][..], Json::entries);
        let mut served = Vec::new();
        for item in items {
            let group = item.at(&["metadata", "name"]).and_then(Json::as_text).unwrap_or_default();
            for version in item.get("versions").map_or(&[][..], Json::entries) {
                let version = version.get("version").and_then(Json::as_text).unwrap_or_default();
                served.push(format!("{group}/{version}"));
            }
        }
        served
    };
    let ours = served(context.ours);
    // What upstream lists must be among ours; custom metrics, where there are any, in both versions.
    let custom = ours.iter().filter(|version| version.starts_with(CUSTOM)).count();
    if served(expected).iter().all(|version| ours.contains(version)) && matches!(custom, 0 | 2) {
        expected.body = context.ours.body.clone();
    }
}

/// The group of custom metrics has two versions.
pub(super) fn both_versions(expected: &mut Normal, context: &Context<'_>) {
    if !context.is_discovery() {
        return;
    }
    let Some(json) = expected.json_mut() else { return };
    let add = |group: &mut Json| {
        if group.get("name").and_then(Json::as_text) == Some(CUSTOM)
            && let Some(versions) = group.get_mut("versions").and_then(Json::entries_mut)
            && versions.len() == 1
        {
            let version = |name: &str, value: String| (name.to_owned(), Json::Text(value));
            versions.push(Json::Object(vec![
                version("groupVersion", format!("{CUSTOM}/v1beta2")),
                version("version", "v1beta2".to_owned()),
            ]));
        }
    };
    if let Some(groups) = json.get_mut("groups").and_then(Json::entries_mut) {
        groups.iter_mut().for_each(add);
    } else {
        add(json);
    }
}

/// Discovery documents have an ETag.
pub(super) fn tagged_discovery(expected: &mut Normal, context: &Context<'_>) {
    if context.is_discovery() && expected.code == 200 && !context.by_meaning() {
        expected.headers.insert("etag".to_owned(), "(present)".to_owned());
    }
}

/// Discovery is sorted by name.
pub(super) fn sorted_discovery(expected: &mut Normal, context: &Context<'_>) {
    if context.is_discovery()
        && let Some(entries) = expected.json_mut().and_then(|json| json.get_mut("resources")?.entries_mut())
    {
        entries.sort_by_key(name_of);
    }
}

/// The scope of a metric is that of its resource, not what the labels of its series say. Who looks at answers on the
/// wire knows the resources, and has ours checked.
pub(super) fn scope_of_the_resource(expected: &mut Normal, context: &Context<'_>) {
    if !context.is_discovery() || !context.by_meaning() {
        return;
    }
    let ours = by_identity(
        context.ours.json().and_then(|json| json.get("resources")).map_or(&[][..], Json::entries),
    );
    let Some(entries) = expected.json_mut().and_then(|json| json.get_mut("resources")?.entries_mut()) else {
        return;
    };
    for entry in entries.iter_mut() {
        let ours = identity(entry).and_then(|name| ours.get(&name)?.get("namespaced").cloned());
        if let (Some(ours), Some(scope)) = (ours, entry.get_mut("namespaced")) {
            *scope = ours;
        }
    }
    // Of a metric whose series differ in their labels, there is one entry for each scope.
    entries.dedup();
}

/// A series whose name needs quotes makes no metric where the rule's query has no place for it.
pub(super) fn names_in_quotes(expected: &mut Normal, context: &Context<'_>) {
    let plain = |name: &str| is_plain(name.rsplit_once('/').map_or(name, |(_, metric)| metric));
    if context.is_discovery()
        && let Some(entries) = expected.json_mut().and_then(|json| json.get_mut("resources")?.entries_mut())
    {
        let ours = context.ours.json().and_then(|json| json.get("resources")).map_or(&[][..], Json::entries);
        entries.retain(|entry| {
            entry.get("name").and_then(Json::as_text).is_none_or(plain) || ours.contains(entry)
        });
    }
}

/// The index of OpenAPI v3 has our own documents only.
pub(super) fn openapi_of_our_own(expected: &mut Normal, context: &Context<'_>) {
    if context.segments != ["openapi", "v3"] {
        return;
    }
    let Some(Json::Object(paths)) = expected.json_mut().and_then(|json| json.get_mut("paths")) else {
        return;
    };
    paths.retain(|(path, _)| path.starts_with("apis/") && path.split('/').count() == 3);
    // Hashes are each server's own.
    let Some(Json::Object(ours)) = context.ours.json().and_then(|json| json.get("paths")) else { return };
    for ((path, document), (our_path, our_document)) in paths.iter_mut().zip(ours) {
        let url = our_document.get("serverRelativeURL").and_then(Json::as_text).unwrap_or_default();
        if path == our_path && url.starts_with(&format!("/openapi/v3/{path}?hash=")) {
            *document = our_document.clone();
        }
    }
}

/// Service level indicators are not served.
pub(super) fn indicators(expected: &mut Normal, _: &Context<'_>) {
    if let Some(paths) = expected.json_mut().and_then(|json| json.get_mut("paths")?.entries_mut()) {
        paths.retain(|path| path.as_text() != Some("/metrics/slis"));
    }
}

/// The list of paths holds the page with the adapter's state.
pub(super) fn status_page(expected: &mut Normal, _: &Context<'_>) {
    if let Some(paths) = expected.json_mut().and_then(|json| json.get_mut("paths")?.entries_mut())
        && let Some(position) = paths.iter().position(|path| path.as_text() == Some("/healthz"))
    {
        paths.insert(position, Json::text("/debug/status"));
    }
}
