//! Which targets of a namespace are scraped, for an explanation.

use super::Notes;
use crate::answer::bounded::{LONGEST_WHY, bounded};
use crate::explanation::counted;
use crate::source::targets::{Health, ScrapedTarget};

impl Notes {
    /// Notes the targets of a namespace; `all` says whether those of other namespaces are among them.
    pub(in crate::answer) fn targets(&mut self, namespace: &str, targets: &[ScrapedTarget], all: bool) {
        let of_namespace: Vec<&ScrapedTarget> =
            targets.iter().filter(|target| target.namespace.as_deref() == Some(namespace)).collect();
        let down = of_namespace.iter().filter(|target| target.health == Health::Down).count();
        let number = of_namespace.len();
        let others = match targets.len() - number {
            _ if !all => String::new(),
            0 => "; there are no others".to_owned(),
            1 => "; 1 other is".to_owned(),
            others => format!("; {others} others are"),
        };
        let scraped = format!("{} of the namespace {namespace}", counted(number, "target"));
        self.further(match (number, down) {
            (0, _) => format!(
                "no target of the namespace {namespace} is scraped{others}: with the Prometheus Operator, \
                 serviceMonitorSelector must match the labels of the ServiceMonitor"
            ),
            (1, 0) => format!("{scraped} is scraped, and answers{others}"),
            (1, _) => format!("{scraped} is scraped, and does not answer{others}"),
            (_, 0) => format!("{scraped} are scraped, and answer{others}"),
            (_, down) => format!("{scraped} are scraped, {down} of them without an answer{others}"),
        });
        if of_namespace.is_empty() {
            return;
        }
        let pods = self.explanation.objects.as_ref().filter(|objects| objects.by.starts_with("pods"));
        let names = match pods {
            Some(pods) => pods.names.clone(),
            // No step got as far as the objects: those that fail say most.
            None => of_namespace
                .iter()
                .filter(|target| target.health == Health::Down)
                .filter_map(|target| target.pod.clone())
                .collect(),
        };
        for name in names.iter().take(PODS_SHOWN) {
            // Of several, such as one for each port, the first that fails.
            let of_pod = || of_namespace.iter().filter(|target| target.pod.as_ref() == Some(name));
            let target = of_pod().find(|target| target.health == Health::Down).or_else(|| of_pod().next());
            let what = match target {
                None => "is not among the targets".to_owned(),
                Some(ScrapedTarget { health: Health::Down, last_error: Some(error), .. }) => {
                    format!("is among the targets, and its scrape fails: {}", bounded(error, LONGEST_WHY))
                }
                Some(ScrapedTarget { health: Health::Down, .. }) => {
                    "is among the targets, and does not answer".to_owned()
                }
                Some(ScrapedTarget { health: Health::Unknown, .. }) => {
                    "is among the targets, and was not scraped yet".to_owned()
                }
                Some(_) => "is among the targets".to_owned(),
            };
            self.further(format!("the pod {name} {what}"));
        }
    }
}

/// Pods whose targets are looked for.
const PODS_SHOWN: usize = 5;
