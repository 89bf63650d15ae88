//! Labels placed beside points, where they cover least.

use super::frame::text_width;

const SIZE: f64 = 12.0;
/// Directions from a point, the best first.
const WAYS: [(f64, f64); 8] =
    [(0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 0.0), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)];

/// A box: left, top, right, bottom.
type Area = [f64; 4];

/// The obstacles to labels.
pub(super) struct Labels {
    inside: Area,
    /// Points and labels.
    taken: Vec<Area>,
    /// Closely spaced positions on lines.
    lines: Vec<(f64, f64)>,
}

impl Labels {
    /// Starts without labels, among lines through points.
    pub fn new(inside: Area, lines: &[Vec<(f64, f64)>]) -> Self {
        let points = lines.iter().flatten();
        let taken = points.map(|(x, y)| [x - 5.0, y - 5.0, x + 5.0, y + 5.0]).collect();
        let steps = |pair: &[(f64, f64)]| {
            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
            let count = ((x2 - x1).hypot(y2 - y1) / 3.0).ceil().max(1.0) as u32;
            (0..=count).map(move |at| {
                let share = f64::from(at) / f64::from(count);
                (x1 + share * (x2 - x1), y1 + share * (y2 - y1))
            })
        };
        let lines = lines.iter().flat_map(|line| line.windows(2).flat_map(steps)).collect();
        Self { inside, taken, lines }
    }

    /// Places a label at a point and returns the middle of its baseline.
    pub fn place(&mut self, (x, y): (f64, f64), text: &str, apart: f64) -> (f64, f64) {
        let (half, height) = (text_width(text, SIZE) / 2.0, SIZE * 0.72);
        let around = |way: (f64, f64), apart: f64| {
            let middle = (x + way.0 * (apart + half), y + way.1 * (apart + height / 2.0));
            [middle.0 - half, middle.1 - height / 2.0, middle.0 + half, middle.1 + height / 2.0]
        };
        let candidates = [apart, apart + 6.0]
            .into_iter()
            .flat_map(|apart| WAYS.into_iter().map(move |way| around(way, apart)))
            .enumerate();
        let best = candidates
            .map(|(at, area)| (self.cost(area) + at as f64 * 0.2, area))
            .min_by(|one, other| one.0.total_cmp(&other.0));
        let area = best.map_or(around(WAYS[0], apart), |(_, area)| area);
        self.taken.push(area);
        (f64::midpoint(area[0], area[2]), area[3])
    }

    fn cost(&self, area: Area) -> f64 {
        let [left, top, right, bottom] = [area[0] - 2.0, area[1] - 2.0, area[2] + 2.0, area[3] + 2.0];
        let covered =
            self.taken.iter().filter(|t| left < t[2] && right > t[0] && top < t[3] && bottom > t[1]);
        let on_lines = self.lines.iter().filter(|(x, y)| left < *x && right > *x && top < *y && bottom > *y);
        let inside = &self.inside;
        let is_outside = left < inside[0] || top < inside[1] || right > inside[2] || bottom > inside[3];
        covered.count() as f64 * 20.0 + on_lines.count() as f64 + if is_outside { 200.0 } else { 0.0 }
    }
}
