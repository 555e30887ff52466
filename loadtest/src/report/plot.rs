//! Curves as SVG: axes, grid, points, a legend. Nothing that a table does not say too.

use std::fmt::Write as _;

use super::short;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
/// Space for words: left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 46.0, 190.0, 52.0];
/// How many lines a grid has, about.
const LINES: f64 = 6.0;
/// Told apart by those who see fewer colours, too (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What its file is called, behind the outcome's name.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What the axis to the right is of.
    pub x: String,
    /// What the axis upwards is of.
    pub y: String,
    /// Names for places on the axis to the right, instead of numbers.
    pub ticks: Vec<(f64, String)>,
    /// Its curves.
    pub curves: Vec<Curve>,
}

/// A curve.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What it is of.
    pub title: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Whether it was worked out and not measured.
    pub dashed: bool,
}

/// From numbers to places on the page.
#[derive(Debug)]
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn of(curves: &[Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| curve.points.iter());
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MIN_POSITIVE, f64::max);
        Self {
            x: (0.0, most(&mut points().map(|point| point.0))),
            y: (0.0, most(&mut points().map(|point| point.1)) * 1.05),
        }
    }

    fn across(&self, x: f64) -> f64 {
        let [left, _, right, _] = MARGIN;
        left + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - left - right)
    }

    fn up(&self, y: f64) -> f64 {
        let [_, top, _, bottom] = MARGIN;
        HEIGHT - bottom - (y - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - top - bottom)
    }
}

/// Round numbers from 0 to here.
fn grid(most: f64) -> Vec<f64> {
    let rough = most / LINES;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let numbers = (0_u32..20).map(|index| f64::from(index) * step);
    numbers.take_while(|number| *number <= most).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Plot {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let scale = Scale::of(&self.curves);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        svg.push_str(&self.axes(&scale));
        for (index, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS.get(index % COLOURS.len()).copied();
            svg.push_str(&curve.svg(&scale, colour.unwrap_or("black"), index as f64));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, scale: &Scale) -> String {
        let [left, top, right, bottom] = MARGIN;
        let (floor, end) = (HEIGHT - bottom, WIDTH - right);
        let mut svg = format!(
            "<text x=\"{left}\" y=\"24\" font-size=\"15\">{}</text>\n\
             <text x=\"{left}\" y=\"40\" fill=\"#555\">{}</text>\n\
             <text x=\"{end}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>\n",
            escaped(&self.title),
            escaped(&self.y),
            HEIGHT - 10.0,
            escaped(&self.x)
        );
        for number in grid(scale.y.1) {
            let y = scale.up(number);
            // Writing to a `String` does not fail.
            let _written = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{end}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                short(number)
            );
        }
        let numbers = || {
            grid(scale.x.1)
                .into_iter()
                .map(|at| (at, short(at)))
                .collect()
        };
        let ticks = if self.ticks.is_empty() {
            numbers()
        } else {
            self.ticks.clone()
        };
        for (at, name) in ticks.iter().filter(|(at, _)| *at <= scale.x.1) {
            let x = scale.across(*at);
            let _written = writeln!(
                svg,
                "<path d=\"M{x:.1} {top}V{floor}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                floor + 18.0,
                escaped(name)
            );
        }
        svg
    }
}

impl Curve {
    fn svg(&self, scale: &Scale, colour: &str, index: f64) -> String {
        let place = |&(x, y): &(f64, f64)| (scale.across(x), scale.up(y));
        let places: Vec<_> = self.points.iter().map(place).collect();
        let path: Vec<_> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let dashes = if self.dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        let mut svg = format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n",
            path.join(" ")
        );
        for (x, y) in places.iter().filter(|_| !self.dashed) {
            // Writing to a `String` does not fail.
            let _written = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let [_, top, right, _] = MARGIN;
        let (x, y) = (WIDTH - right + 14.0, top + 12.0 + index * 20.0);
        let _written = writeln!(
            svg,
            "<path d=\"M{x} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            x + 24.0,
            escaped(&self.title)
        );
        svg
    }
}

/// Where the usual percentiles stand on an axis of nines.
#[must_use]
pub fn percentile_ticks() -> Vec<(f64, String)> {
    let named = [50.0, 90.0, 99.0, 99.9, 99.99];
    named
        .map(|percentile| (crate::measure::nines(percentile), format!("{percentile} %")))
        .to_vec()
}
