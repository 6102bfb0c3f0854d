//! The Horizontal Pod Autoscaler's arithmetic for Pods metrics with an average target
//! (`k8s.io/kubernetes/pkg/controller/podautoscaler/replica_calculator.go`), and what benchmarks have many of
//! them read.

/// A metric's target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The metric's name.
    pub metric: &'static str,
    /// What it should be on average over the pods.
    pub average: f64,
}

/// Bounds of the number of replicas.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// The replicas that one metric asks for: in proportion, rounded up, and as they are within a tenth of the target.
pub fn desired(replicas: u32, average: f64, target: f64) -> u32 {
    let ratio = average / target;
    if (ratio - 1.0).abs() <= TOLERANCE {
        return replicas;
    }
    (ratio * f64::from(replicas)).ceil() as u32
}

/// The replicas that all metrics ask for: the largest wish, within the bounds.
pub fn replicas(wishes: impl IntoIterator<Item = u32>, bounds: Bounds) -> u32 {
    wishes.into_iter().max().unwrap_or(bounds.min).clamp(bounds.min, bounds.max)
}

/// Metrics that each of many autoscalers reads of the pods of its own Deployment.
pub const METRICS: [&str; 2] = ["queue_depth", "busy_workers"];
/// The rules that make [`METRICS`].
pub const RULES: &str = r#"rules:
- seriesQuery: 'queue_depth{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'busy_workers{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
"#;
const TOLERANCE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_those_of_the_controller() {
        for (average, expected) in [(0.0, 0), (5.0, 2), (9.1, 3), (10.9, 3), (11.1, 4), (20.0, 6), (50.0, 15)]
        {
            assert_eq!(desired(3, average, 10.0), expected, "{average}");
        }
        let bounds = Bounds { min: 2, max: 10 };
        assert_eq!(replicas([0, 0], bounds), 2);
        assert_eq!(replicas([4, 7], bounds), 7);
        assert_eq!(replicas([15], bounds), 10);
        assert_eq!(replicas([], bounds), 2);
    }
}
