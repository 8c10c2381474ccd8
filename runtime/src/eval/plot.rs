//! Line charts as SVG text: axes with round ticks, lines, dots, a legend. No script, no font, nothing fetched.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// Of a chart that stands alone.
const STYLE: &str = "text{font:11px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:12.5px}.grid{stroke:#e5e5e5;stroke-width:1}";
/// Told apart by most colour-blind readers (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Line,
    Dashed,
    Dots,
}

/// Points of one kind; those that are not finite are left out.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) mark: Mark,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// Ends of the y axis; without them those of the points.
    pub(crate) y_range: Option<(f64, f64)>,
    pub(crate) series: Vec<Series>,
}

/// An axis from data to pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, fixed: Option<(f64, f64)>, from: f64, to: f64) -> Self {
        let (low, high) = fixed.unwrap_or_else(|| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            })
        });
        let (low, high) = if low.is_finite() && high.is_finite() {
            (low, high)
        } else {
            (0.0, 1.0)
        };
        let high = if high - low > 1e-12 * low.abs().max(1.0) {
            high
        } else {
            low + 1.0
        };
        Self { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Multiples of 1, 2 or 5 times a power of ten within the axis, four to ten of them, and their decimals.
    fn ticks(&self) -> (Vec<f64>, usize) {
        let rough = (self.high - self.low) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|s| *s >= rough * 0.999)
            .unwrap_or(power);
        let first = (self.low / step - 1e-9).ceil();
        let count = ((self.high / step + 1e-9).floor() - first).max(0.0) as usize;
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        ((0..=count).map(|i| (first + i as f64) * step).collect(), decimals)
    }
}

impl Plot {
    /// The chart as one `<svg>` element.
    pub(crate) fn svg(&self) -> String {
        let finite = |series: &Series| -> Vec<(f64, f64)> {
            series
                .points
                .iter()
                .copied()
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .collect()
        };
        let drawn: Vec<(&Series, Vec<(f64, f64)>)> = self.series.iter().map(|s| (s, finite(s))).collect();
        let all = || drawn.iter().flat_map(|(_, points)| points);
        let x = Axis::over(all().map(|p| p.0), None, LEFT, WIDTH - RIGHT);
        let y = Axis::over(all().map(|p| p.1), self.y_range, HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>",
            title = escape(&self.title)
        );
        self.axes(&mut svg, &x, &y);
        for (index, (series, points)) in drawn.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            draw(&mut svg, series.mark, colour, points, &x, &y);
            let at = TOP + 14.0 * (index as f64 + 1.0);
            let left = WIDTH - RIGHT + 8.0;
            let _ = write!(
                svg,
                "<rect x=\"{left}\" y=\"{}\" width=\"10\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"{at}\">{}</text>",
                at - 6.0,
                left + 14.0,
                escape(&series.name)
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// The chart as a file of its own, which brings its fonts and colours.
    pub(crate) fn file(&self) -> String {
        let head = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" ",
            1.5 * WIDTH,
            1.5 * HEIGHT
        );
        let whole = self.svg().replacen("<svg ", &head, 1);
        let ground = format!(
            "><style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/><text class=\"title\""
        );
        whole.replacen("><text class=\"title\"", &ground, 1) + "\n"
    }

    fn axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let (ticks, decimals) = x.ticks();
        for tick in ticks {
            let at = x.at(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/><text text-anchor=\"middle\" x=\"{at:.1}\" y=\"{}\">{tick:.decimals$}</text>",
                bottom + 14.0
            );
        }
        let (ticks, decimals) = y.ticks();
        for tick in ticks {
            let at = y.at(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/><text text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{tick:.decimals$}</text>",
                LEFT - 4.0,
                at + 4.0
            );
        }
        let (middle_x, middle_y) = (f64::midpoint(LEFT, right), f64::midpoint(TOP, bottom));
        let _ = write!(
            svg,
            "<text text-anchor=\"middle\" x=\"{middle_x}\" y=\"{}\">{}</text><text text-anchor=\"middle\" transform=\"translate(12 {middle_y}) rotate(-90)\">{}</text>",
            HEIGHT - 8.0,
            escape(&self.x),
            escape(&self.y)
        );
    }
}

fn draw(svg: &mut String, mark: Mark, colour: &str, points: &[(f64, f64)], x: &Axis, y: &Axis) {
    if mark == Mark::Dots {
        for (px, py) in points {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                x.at(*px),
                y.at(*py)
            );
        }
        return;
    }
    let dash = if mark == Mark::Dashed {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    };
    let _ = write!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dash} points=\""
    );
    for (px, py) in points {
        let _ = write!(svg, "{:.1},{:.1} ", x.at(*px), y.at(*py));
    }
    svg.push_str("\"/>");
}

/// Text as HTML and SVG take it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> String {
        let series = vec![Series {
            name: "a <b>".to_owned(),
            mark: Mark::Line,
            points,
        }];
        Plot {
            title: "t & t".to_owned(),
            x: "x".to_owned(),
            y: "y".to_owned(),
            y_range: Some((0.0, 1.0)),
            series,
        }
        .svg()
    }

    #[test]
    fn points_land_where_the_axes_say() {
        let svg = plot(vec![(0.0, 0.0), (2.0, 1.0), (1.0, f64::NAN)]);
        let corner = format!(
            "{:.1},{:.1} {:.1},{:.1} \"",
            LEFT,
            HEIGHT - BOTTOM,
            WIDTH - RIGHT,
            TOP
        );
        assert!(svg.contains(&corner), "{svg}");
        assert!(!svg.contains("NaN") && svg.contains("a &lt;b&gt;") && svg.contains("t &amp; t"));
    }

    #[test]
    fn nothing_and_one_value_are_drawn_too() {
        for points in [vec![], vec![(3.0, 0.5)], vec![(3.0, 0.5), (3.0, 0.7)]] {
            let svg = plot(points);
            assert!(
                svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
        }
    }

    #[test]
    fn a_file_of_its_own_says_what_it_is() {
        let chart = Plot {
            title: "t".to_owned(),
            x: "x".to_owned(),
            y: "y".to_owned(),
            y_range: None,
            series: Vec::new(),
        };
        let file = chart.file();
        assert!(
            file.starts_with("<svg xmlns=") && file.ends_with("</svg>\n"),
            "{file}"
        );
        assert_eq!(
            (file.matches("<style>").count(), file.matches("<svg").count()),
            (1, 1)
        );
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (low, high) in [
            (0.0, 1.0),
            (0.0, 4.605),
            (-3.0, 1e9),
            (0.513, 0.521),
            (1e-9, 3e-9),
        ] {
            let axis = Axis {
                low,
                high,
                from: 0.0,
                to: 1.0,
            };
            let (ticks, _) = axis.ticks();
            assert!((3..=10).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
            assert!(
                ticks
                    .iter()
                    .all(|t| *t >= low - (high - low) * 1e-6 && *t <= high + (high - low) * 1e-6)
            );
        }
    }
}
