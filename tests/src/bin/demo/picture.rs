//! A run as an SVG.

use e2e::Failure;
use plotters::prelude::*;

use crate::observation::Observation;
use crate::panel::{Panel, panels};

/// Draws a run, with a line of text above it.
///
/// # Errors
/// What the library cannot draw.
pub(crate) fn svg(title: &str, run: &[Observation]) -> Result<String, Failure> {
    let end = run.last().map_or(0.0, |round| round.second as f64).max(1.0);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let below = root.titled(title, (FONT, 17))?;
        for (panel, area) in panels(run).iter().zip(below.split_evenly((3, 1))) {
            draw(panel, end, &area)?;
        }
        root.present()?;
    }
    Ok(text)
}

fn draw(
    panel: &Panel,
    end: f64,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<(), Failure> {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 15))
        .margin(6)
        .margin_right(16)
        .x_label_area_size(22)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..end, 0.0..panel.top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .axis_style(BLACK.mix(0.5))
        .x_labels(12)
        .y_labels(5)
        .x_label_formatter(&|second| format!("{second:.0} s"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style((FONT, 12))
        .draw()?;
    if let Some(level) = panel.target {
        let level = [(0.0, level), (end, level)];
        chart.draw_series(DashedLineSeries::new(level, 6, 4, BLACK.mix(0.6).stroke_width(1)))?;
    }
    for (line, color) in panel.lines.iter().zip(COLORS) {
        let style = color.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        if panel.lines.len() > 1 {
            drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
    }
    if panel.lines.len() > 1 {
        chart
            .configure_series_labels()
            // Before the load comes, nothing is there.
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 12))
            .background_style(WHITE)
            .draw()?;
    }
    Ok(())
}

const SIZE: (u32, u32) = (880, 600);
const FONT: &str = "sans-serif";
/// Told apart by those who see few colours, too.
const COLORS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(204, 121, 167)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::two_rounds;

    #[test]
    fn a_picture_has_the_title_and_a_line_for_each_pod_and_for_the_replicas() {
        let picture = svg("three pods", &two_rounds()).unwrap();
        assert!(picture.contains("three pods"), "{picture}");
        for name in ["model-0", "model-1", "model-2"] {
            assert_eq!(picture.matches(name).count(), 2, "{name}: {picture}");
        }
        let lines = picture.matches(r#"stroke-width="2""#).count();
        assert!(lines >= 7, "{lines} lines: {picture}");
    }
}
