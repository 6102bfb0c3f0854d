//! Whether other labels hold what a rule looks for. A Prometheus without `honor_labels` renames the label `pod` of a
//! series to `exported_pod`, and its own `pod` names the exporter.

use rules::catalog::own_queries::{self, PLACE};

use super::Answerer;
use super::record::Notes;
use super::sought::Sought;
use crate::explanation::{MOST_LISTED, Reason};

/// A label that a rule looks at, and the one that holds what it looks for.
struct Moved<'a> {
    what: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Answerer {
    /// Finds labels that hold the objects or the namespace asked for where those of the rule do not, and notes them as
    /// the cause.
    pub(super) async fn look_for_labels(&self, sought: &Sought<'_>, notes: &mut Notes) {
        let mut moved = Vec::new();
        let mut of_objects = None;
        if let Some((from, names)) = sought.objects {
            let names = &names[..names.len().min(MOST_LISTED)];
            let Some(to) = self.holder(sought, from, sought.what, names, None).await else { return };
            moved.extend((from != to).then_some(Moved { what: sought.what, from, to }));
            of_objects = Some((to, names));
        }
        if let Some((from, namespace)) = sought.origin.label_of_namespaces().zip(sought.namespace) {
            let holder = self.holder(sought, from, "namespaces", &[namespace], of_objects).await;
            moved.extend(holder.filter(|to| *to != from).map(|to| Moved { what: "namespaces", from, to }));
        }
        let [Moved { what, from, to }, more @ ..] = &moved[..] else { return };
        let (mut looks, mut holds) = (format!("{what} in the label {from:?}"), format!("{to:?}"));
        for Moved { what, from, to } in more {
            looks = format!("{looks} and for {what} in {from:?}");
            holds = format!("{holds} and {to:?}");
        }
        notes.cause(Reason::OtherLabel, || {
            format!(
                "{} looks for {looks}, and {} has those asked for in {holds}: set honor_labels where it is scraped, or name \
                 these labels in resources.overrides",
                sought.origin.rule(),
                sought.origin.series()
            )
        });
    }

    /// The label that holds any of `values`: the rule's own if it does, else one with a name like it.
    async fn holder<'a>(
        &self,
        sought: &Sought<'a>,
        own: &'a str,
        what: &str,
        values: &[&str],
        also: Option<(&str, &[&str])>,
    ) -> Option<&'a str> {
        // `ingress` of `ingresses`; of others at least how they begin.
        let singular = what.strip_suffix("es").or(what.strip_suffix('s')).unwrap_or(what);
        let carried = sought.origin.labels().iter().map(|label| &**label);
        let like =
            carried.filter(|label| *label != own && (label.contains(singular) || own.contains(*label)));
        let labels: Vec<&str> = std::iter::once(own).chain(like).take(MOST_LISTED).collect();
        let promql = own_queries::held_by(sought.origin, &labels, values, also).ok()?;
        let samples = self.ask_further(sought.context, &promql).await?;
        let places = samples.iter().filter_map(|sample| sample.label(PLACE)?.parse::<usize>().ok());
        places.min().and_then(|place| labels.get(place).copied())
    }
}
