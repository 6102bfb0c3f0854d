//! A run as it goes on: charts on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _, Stdout};

use e2e::picture::Panel;
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use crate::observation::{DEPTH, LATENCY, Observation, pod_names};
use crate::panel::panels;

/// Where a run is shown.
pub(crate) enum Screen {
    /// Charts that are drawn again after each round, below what was printed before.
    Charts(Terminal<CrosstermBackend<Stdout>>),
    /// A table that gets a line after each round.
    Lines,
}

impl Screen {
    /// Charts if standard output is a terminal that has room for them, and neither `CI` nor `NO_COLOR` asks for plain
    /// text.
    pub(crate) fn new() -> Screen {
        let asked = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal()
            && !asked("CI")
            && !asked("NO_COLOR")
            && let Ok(terminal) = charts()
        {
            return Screen::Charts(terminal);
        }
        let pods: Vec<String> = pod_names().map(|pod| format!("{pod:>17}")).collect();
        println!("{:>5} {:>8}{} {:>9}", "time", "clients", pods.concat(), "replicas");
        Screen::Lines
    }

    /// Shows a run up to its last round, of which it knows how long it may become.
    pub(crate) fn show(&mut self, run: &[Observation], longest: f64) -> io::Result<()> {
        let Some(last) = run.last() else { return Ok(()) };
        match self {
            Screen::Charts(terminal) => {
                terminal.draw(|frame| draw(frame, run, longest))?;
            }
            Screen::Lines => println!("{}", row(last)),
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Screen::Charts(terminal) = self {
            // What is printed next goes below the charts. A terminal that is gone needs no cursor.
            let below = terminal.get_frame().area().bottom().saturating_sub(1);
            let _ = terminal.set_cursor_position((0, below));
            println!();
        }
    }
}

/// A terminal with the charts' room in it; an error on one that is too small, or that does not say where its cursor is.
fn charts() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    let backend = CrosstermBackend::new(io::stdout());
    let size = backend.size()?;
    if size.width < WIDTH || size.height < HEIGHT {
        return Err(io::Error::other("the terminal is too small"));
    }
    Terminal::with_options(backend, TerminalOptions { viewport: Viewport::Inline(HEIGHT) })
}

fn draw(frame: &mut Frame<'_>, run: &[Observation], longest: f64) {
    let [status, above, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(3), Constraint::Fill(2)])
            .areas(frame.area());
    if let Some(last) = run.last() {
        frame.render_widget(row(last), status);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(above);
    for (panel, area) in panels(run).iter().zip([left, right, below]) {
        draw_panel(frame, panel, area, longest);
    }
}

fn draw_panel(frame: &mut Frame<'_>, panel: &Panel, area: Rect, longest: f64) {
    let target = panel.target.map(|level| [(0.0, level), (longest, level)]);
    let line = |color: Color| {
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(Style::new().fg(color))
    };
    let mut lines: Vec<Dataset<'_>> =
        target.iter().map(|level| line(Color::DarkGray).data(level.as_slice())).collect();
    lines.extend(panel.lines.iter().zip(COLORS).map(|(given, color)| line(color).data(&given.points)));
    let axis = |end: f64| {
        Axis::default()
            .bounds([0.0, end])
            .labels(["0".to_owned(), format!("{end:.0}")])
            .style(Style::new().fg(Color::DarkGray))
    };
    let chart = Chart::new(lines).x_axis(axis(longest)).y_axis(axis(panel.top));
    frame.render_widget(chart.block(Block::bordered().title(panel.title.as_str())), area);
}

/// The last values: second, clients, each pod's depth and latency, replicas.
fn row(round: &Observation) -> String {
    let pods: Vec<String> = pod_names()
        .map(|pod| {
            let depth = round.value(DEPTH.metric, &pod).map_or("-".to_owned(), |depth| format!("{depth:.0}"));
            let latency = round
                .value(LATENCY.metric, &pod)
                .map_or("-".to_owned(), |latency| format!("{:.0} ms", latency * 1e3));
            format!("{depth:>7} {latency:>9}")
        })
        .collect();
    format!("{:>4}s {:>8}{} {:>9}", round.second, round.clients, pods.concat(), round.replicas)
}

/// What the charts take of a terminal.
const WIDTH: u16 = 76;
const HEIGHT: u16 = 18;
const COLORS: [Color; 3] = [Color::Cyan, Color::Yellow, Color::Magenta];

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::observation::two_rounds;

    #[test]
    fn charts_show_the_last_values_and_a_line_for_each_panel() {
        let mut terminal = Terminal::new(TestBackend::new(WIDTH, HEIGHT)).unwrap();
        terminal.draw(|frame| draw(frame, &two_rounds(), 4.0)).unwrap();
        let shown = terminal.backend().to_string();
        assert!(
            shown.contains("2s       48     16    320 ms     16    320 ms     16    320 ms         5"),
            "{shown}"
        );
        for title in panels(&two_rounds()).map(|panel| panel.title) {
            // Half of the width is what a title of the upper row has.
            let begin: String = title.chars().take(usize::from(WIDTH) / 2 - 2).collect();
            assert!(shown.contains(&begin), "{begin}: {shown}");
        }
        let braille = shown.chars().filter(|sign| ('\u{2801}'..='\u{28ff}').contains(sign)).count();
        assert!(braille > 30, "{braille} cells are drawn: {shown}");
    }
}
