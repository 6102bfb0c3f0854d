//! The three charts of a run as data: what the terminal and the picture both draw.

use e2e::hpa::Target;
use e2e::picture::{Line, Panel, steps};

use crate::observation::{BOUNDS, DEPTH, LATENCY, Observation, pod_names};

/// Depth and latency of each pod, and the replicas that an autoscaler would want.
pub(crate) fn panels(run: &[Observation]) -> [Panel; 3] {
    let replicas = steps(run.iter().map(|round| (round.second as f64, f64::from(round.replicas))));
    let replicas = Line { name: "replicas".to_owned(), points: replicas };
    [
        each_pod("request_queue_depth: target 10", DEPTH, 1.0, run),
        each_pod("inference_latency_seconds_avg in ms: target 200", LATENCY, 1e3, run),
        Panel {
            title: format!("replicas of an autoscaler from {} to {}", BOUNDS.min, BOUNDS.max),
            lines: vec![replicas],
            target: None,
            top: f64::from(BOUNDS.max) + 1.0,
        },
    ]
}

/// The values of each pod, multiplied by `unit`.
fn each_pod(title: &str, target: Target, unit: f64, run: &[Observation]) -> Panel {
    let lines: Vec<Line> = pod_names()
        .map(|name| {
            let points = run
                .iter()
                .filter_map(|round| Some((round.second as f64, round.value(target.metric, &name)? * unit)));
            Line { points: points.collect(), name }
        })
        .collect();
    let level = target.average * unit;
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value).fold(level, f64::max);
    Panel { title: title.to_owned(), lines, target: Some(level), top: highest * 1.2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::two_rounds;

    #[test]
    fn panels_hold_every_pod_and_step_from_one_number_of_replicas_to_the_next() {
        let [depth, latency, replicas] = panels(&two_rounds());
        assert_eq!(depth.lines.len(), 3);
        assert_eq!(depth.lines[2].points, [(0.0, 0.0), (2.0, 16.0)]);
        assert_eq!(latency.lines[0].points, [(0.0, 0.0), (2.0, 320.0)]);
        assert_eq!((depth.target, latency.target), (Some(10.0), Some(200.0)));
        assert_eq!(replicas.lines[0].points, [(0.0, 2.0), (2.0, 2.0), (2.0, 5.0)]);
    }

    #[test]
    fn a_value_that_is_missing_is_left_out_of_its_line() {
        let mut run = two_rounds();
        run[1].seen.get_mut(DEPTH.metric).unwrap().remove("model-1");
        let [depth, ..] = panels(&run);
        assert_eq!(depth.lines[1].points, [(0.0, 0.0)]);
    }
}
