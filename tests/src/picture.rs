//! Charts over the seconds of a run, one above the other, as an SVG.

use plotters::prelude::*;

use crate::Failure;

/// A chart: lines over seconds.
#[derive(Debug)]
pub struct Panel {
    /// The text above it.
    pub title: String,
    /// Its lines, at most three.
    pub lines: Vec<Line>,
    /// A level to compare the lines with.
    pub target: Option<f64>,
    /// The end of the vertical axis, which begins at 0.
    pub top: f64,
}

/// A line of a chart.
#[derive(Debug)]
pub struct Line {
    /// Shown if there are several.
    pub name: String,
    /// Second and value, by time.
    pub points: Vec<(f64, f64)>,
}

/// A value that holds until the next point, as a line.
pub fn steps(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (second, value) in points {
        if let Some((_, before)) = line.last().copied() {
            line.push((second, before));
        }
        line.push((second, value));
    }
    line
}

/// Draws panels with a line of text above them.
///
/// # Errors
/// What the library cannot draw.
pub fn svg(title: &str, panels: &[Panel]) -> Result<String, Failure> {
    let seconds = panels.iter().flat_map(|panel| &panel.lines).filter_map(|line| line.points.last());
    let end = seconds.map(|(second, _)| *second).fold(1.0, f64::max);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let below = root.titled(title, (FONT, 17))?;
        for (panel, area) in panels.iter().zip(below.split_evenly((panels.len(), 1))) {
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

    #[test]
    fn a_picture_has_the_title_the_names_of_lines_and_their_colors() {
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0), (2.0, 3.0)] };
        let panel = |lines| Panel { title: "depth".to_owned(), lines, target: Some(2.0), top: 4.0 };
        let picture =
            svg("two pods", &[panel(vec![line("one"), line("two")]), panel(vec![line("alone")])]).unwrap();
        for text in ["two pods", "depth", "one", "two"] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
        assert!(!picture.contains("alone"), "{picture}");
        assert_eq!(picture.matches("#0072B2").count(), 3, "two lines and a legend: {picture}");
    }

    #[test]
    fn a_value_holds_until_the_next_one() {
        assert_eq!(steps([(0.0, 2.0), (3.0, 4.0)]), [(0.0, 2.0), (3.0, 2.0), (3.0, 4.0)]);
    }
}
