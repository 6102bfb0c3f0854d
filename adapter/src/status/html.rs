//! The status as a page that loads nothing: no scripts, no other files, light or dark as the reader's system is.

use std::fmt::{self, Write as _};

use super::{RefusedRule, RuleStatus, SlowQuery, SourceStatus, Status, TargetStatus, WithoutValue};

impl Status {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = String::with_capacity(16 << 10);
        // Writing to memory does not fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let Status { version, uptime_seconds, .. } = self;
        write!(
            page,
            "{HEAD}<h1>adapter</h1><p>Version {}, up for {}.</p>",
            text(version),
            time(*uptime_seconds as f64)
        )?;
        self.write_source(page)?;
        table(
            page,
            "Rules",
            &["rule", "series query", "metrics", "series", "dropped", "unmapped", "listed", "state"],
            &self.rules,
            self.more_rules,
            rule,
        )?;
        if !self.refused_rules.is_empty() {
            table(
                page,
                "Rules left out of the file",
                &["rule", "fault"],
                &self.refused_rules,
                0,
                |refused| {
                    let RefusedRule { id, fault } = refused;
                    (true, vec![text(id), text(fault)])
                },
            )?;
        }
        if !self.targets.is_empty() {
            table(
                page,
                "Targets",
                &["url", "labels", "scrapes", "samples", "state"],
                &self.targets,
                self.more_targets,
                target,
            )?;
        }
        table(
            page,
            "Slowest queries of the last hour",
            &["rule", "query", "took", "when", "error"],
            &self.slow_queries,
            0,
            |slow| {
                let SlowQuery { rule, promql, seconds, seconds_ago, error } = slow;
                let error = error.as_deref().unwrap_or_default();
                (
                    !error.is_empty(),
                    vec![text(rule), code(promql), format!("{seconds:.3} s"), ago(*seconds_ago), text(error)],
                )
            },
        )?;
        table(
            page,
            "Last answers without a value",
            &["request", "step", "why", "when"],
            &self.without_value,
            0,
            |missing| {
                let WithoutValue { asked, step, why, seconds_ago } = missing;
                (false, vec![code(asked), text(step), text(why), ago(*seconds_ago)])
            },
        )?;
        page.push_str("</body></html>\n");
        Ok(())
    }

    fn write_source(&self, page: &mut String) -> fmt::Result {
        let SourceStatus {
            name,
            answered_seconds_ago,
            silent_seconds,
            queries_in_flight,
            queries_waiting,
            query_limit,
            breaker,
        } = &self.source;
        let state = match (answered_seconds_ago, silent_seconds) {
            (_, Some(silent)) => format!("<strong class=bad>has not answered for {}</strong>", time(*silent)),
            (Some(answered), None) => format!("answered {}", ago(*answered)),
            (None, None) => "was not asked yet".to_owned(),
        };
        write!(
            page,
            "<h2>Metric source</h2><p>{} {state}.</p><p>{queries_in_flight} queries are in flight, of at most {query_limit}; \
             {queries_waiting} wait.</p>",
            text(name)
        )?;
        match breaker.as_deref() {
            None | Some("closed") => Ok(()),
            Some(state) => write!(
                page,
                "<p><strong class=bad>The circuit breaker is {}: queries fail without being sent.</strong></p>",
                text(state)
            ),
        }
    }
}

fn rule(rule: &RuleStatus) -> (bool, Vec<String>) {
    let RuleStatus { id, series_query, metrics, series, dropped, unmapped, listed_seconds_ago, error, why } =
        rule;
    let listed = listed_seconds_ago.map_or_else(|| "never".to_owned(), ago);
    let state = match (error, why) {
        (Some(error), _) => format!("listing failed: {}", text(error)),
        (None, Some(why)) => text(why),
        (None, None) => "good".to_owned(),
    };
    let is_bad = error.is_some() || why.is_some();
    let numbers = [metrics, series, dropped, unmapped].map(usize::to_string);
    let cells = [text(id), code(series_query)].into_iter().chain(numbers).chain([listed, state]);
    (is_bad, cells.collect())
}

fn target(target: &TargetStatus) -> (bool, Vec<String>) {
    let TargetStatus { url, labels, scrapes, samples, error } = target;
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    let state = match (error, scrapes) {
        (Some(error), _) => text(error),
        (None, 0) => "not scraped yet".to_owned(),
        (None, _) => "good".to_owned(),
    };
    let cells = vec![code(url), text(&labels.join(", ")), scrapes.to_string(), samples.to_string(), state];
    (error.is_some(), cells)
}

/// A table; `cells` makes of an entry whether it is bad, and its cells as HTML.
fn table<T>(
    page: &mut String,
    title: &str,
    heads: &[&str],
    entries: &[T],
    more: usize,
    cells: impl Fn(&T) -> (bool, Vec<String>),
) -> fmt::Result {
    write!(page, "<h2>{title}</h2>")?;
    if entries.is_empty() {
        page.push_str("<p>None.</p>");
        return Ok(());
    }
    page.push_str("<div class=wide><table><thead><tr>");
    for head in heads {
        write!(page, "<th scope=col>{head}</th>")?;
    }
    page.push_str("</tr></thead><tbody>");
    for entry in entries {
        let (is_bad, cells) = cells(entry);
        page.push_str(if is_bad { "<tr class=bad>" } else { "<tr>" });
        for cell in cells {
            write!(page, "<td>{cell}</td>")?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
    if more > 0 {
        write!(page, "<p>{more} more are not shown.</p>")?;
    }
    Ok(())
}

fn code(raw: &str) -> String {
    format!("<code>{}</code>", text(raw))
}

/// Text that targets, callers and rules choose, as HTML.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn ago(seconds: impl std::borrow::Borrow<f64>) -> String {
    format!("{} ago", time(*seconds.borrow()))
}

/// In the largest unit that leaves two digits.
fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        ..100.0 => (seconds, "s"),
        ..6_000.0 => (seconds / 60.0, "min"),
        ..360_000.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    format!("{number:.0} {unit}")
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
    <meta name=color-scheme content=\"light dark\"><title>adapter</title><style>\
    :root{--text:#1c1e21;--ground:#fff;--line:#d5d8dc;--head:#f1f3f5;--bad:#a4161a;--code:#44515e}\
    @media(prefers-color-scheme:dark){:root{--text:#e4e6ea;--ground:#16181b;--line:#383d43;--head:#22262b;--bad:#ff8a80;\
    --code:#aab6c3}}\
    body{font:14px/1.5 system-ui,sans-serif;color:var(--text);background:var(--ground);margin:2rem}\
    h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
    .wide{overflow-x:auto}table{border-collapse:collapse}\
    th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}\
    th{background:var(--head)}code{font:12px/1.5 ui-monospace,monospace;color:var(--code);overflow-wrap:break-word}\
    .bad td:last-child,strong.bad{color:var(--bad)}</style></head><body>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_choose_is_text_and_no_markup() {
        let odd = "<script>alert('x')</script>&\"\n";
        let status = Status {
            rules: vec![RuleStatus {
                id: odd.to_owned(),
                error: Some(odd.to_owned()),
                ..RuleStatus::default()
            }],
            slow_queries: vec![SlowQuery { promql: odd.to_owned(), ..SlowQuery::default() }],
            without_value: vec![WithoutValue { asked: odd.to_owned(), ..WithoutValue::default() }],
            ..Status::default()
        };
        let page = status.html();
        assert!(
            !page.contains("<script")
                && page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;")
        );
        // Nothing is loaded.
        for loads in ["src=", "href=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(loads), "{loads} is in {page}");
        }
        assert!(page.contains("prefers-color-scheme:dark") && page.contains("<tr class=bad>"));
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        assert_eq!(
            [3.4, 99.0, 3_000.0, 200_000.0, 900_000.0].map(time),
            ["3 s", "99 s", "50 min", "56 h", "10 d"]
        );
    }
}
