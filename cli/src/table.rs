//! Tables that fit the terminal.
//!
//! If a table is too wide, first long ids become short ones, then prose in the last column is wrapped. Then
//! texts lose their middle, and last, ids lose all digits but those that a reference needs. Numbers stay
//! whole.

use crate::width::{ID_SHORT, columns, is_id, shorten, wrap};

/// The gap between two columns.
const GAP: usize = 2;
/// The width of `@` and the fewest digits that a reference needs.
const ID_LEAST: usize = 7;
/// The minimum width of a text.
const TEXT_LEAST: usize = 8;
/// The minimum width of wrapped prose.
const PROSE_LEAST: usize = 16;

/// Formats rows as a table, with two spaces between columns, in at most `width` terminal columns. The columns
/// listed in `right` are aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize], width: Option<usize>) -> String {
    let layout = Layout::of(rows, right, width);
    let mut text = String::new();
    for row in rows {
        for line in layout.lines(row) {
            text.push_str(&match width {
                Some(width) => shorten(line.trim_end(), width),
                None => line.trim_end().into(),
            });
            text.push('\n');
        }
    }
    text
}

/// The widths of the columns of a table, in terminal columns.
struct Layout<'a> {
    widths: Vec<usize>,
    right: &'a [usize],
    /// Whether the last column is wrapped.
    wraps: bool,
}

impl<'a> Layout<'a> {
    fn of(rows: &[Vec<String>], right: &'a [usize], width: Option<usize>) -> Self {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
        let natural = |column: usize| cells(column).map(|cell| columns(cell)).max().unwrap_or(0);
        let mut layout = Self { widths: (0..count).map(natural).collect(), right, wraps: false };
        let Some(width) = width else { return layout };
        let ids = |column: usize| cells(column).any(|cell| is_id(cell));
        let (ids, texts): (Vec<_>, Vec<_>) =
            (0..count).filter(|column| !right.contains(column)).partition(|column| ids(*column));
        layout.narrow(&ids, ID_SHORT, width);
        let is_prose = |cell: &String| cell.split(' ').count() > 2;
        if let Some(last) = count.checked_sub(1)
            && cells(last).any(is_prose)
            && layout.excess(width) > 0
        {
            layout.wraps = true;
            layout.narrow(&[last], PROSE_LEAST, width);
        }
        layout.narrow(&texts, TEXT_LEAST, width);
        layout.narrow(&ids, ID_LEAST, width);
        layout
    }

    /// Returns the number of terminal columns by which the table is too wide.
    fn excess(&self, width: usize) -> usize {
        let gaps = GAP * self.widths.len().saturating_sub(1);
        (self.widths.iter().sum::<usize>() + gaps).saturating_sub(width)
    }

    /// Narrows the widest of these columns, down to `least`, until the table fits.
    fn narrow(&mut self, of: &[usize], least: usize, width: usize) {
        for _ in 0..self.excess(width) {
            let widest = of.iter().copied().filter(|column| self.widths[*column] > least);
            let Some(widest) = widest.max_by_key(|column| self.widths[*column]) else { return };
            self.widths[widest] -= 1;
        }
    }

    /// Formats a row as one line, or as several if its last cell is wrapped.
    fn lines(&self, row: &[String]) -> Vec<String> {
        let last = self.widths.len() - 1;
        let (mut line, mut more) = (String::new(), Vec::new());
        for (column, cell) in row.iter().enumerate() {
            let width = self.widths[column];
            let cell = if self.wraps && column == last {
                let mut wrapped = wrap(cell, width).into_iter();
                let first = wrapped.next().unwrap_or_default();
                more.extend(wrapped);
                first
            } else {
                shorten(cell, width)
            };
            let blanks = " ".repeat(width - columns(&cell));
            let (before, after) =
                if self.right.contains(&column) { (blanks, String::new()) } else { (String::new(), blanks) };
            line.push_str(&format!("{before}{cell}{after}{:GAP$}", ""));
        }
        let indent = self.widths[..last].iter().map(|width| width + GAP).sum::<usize>();
        let more = more.into_iter().map(|text| format!("{:indent$}{text}", ""));
        std::iter::once(line).chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn columns_line_up_by_the_width_of_their_letters() {
        assert_eq!(table(&rows(&[&["a", "100"], &["long", "1"]]), &[1], None), "a     100\nlong    1\n");
        assert_eq!(table(&rows(&[&["磁盘", "x"], &["long", "y"]]), &[], None), "磁盘  x\nlong  y\n");
        assert_eq!(table(&[], &[], Some(40)), "");
    }

    #[test]
    fn a_table_that_is_too_wide_gives_up_what_matters_least() {
        let id = "0123456789abcdef".repeat(4);
        let long = rows(&[&["NAME", "IMAGE", "SIZE"], &["a-web-server-of-mine:latest", &id, "256.0 MiB"]]);
        assert!(table(&long, &[2], None).contains(&id));
        let medium = table(&long, &[2], Some(60));
        assert!(medium.contains("a-web-server-of-mine:latest  0123456789abcde"), "{medium}");
        let narrow = table(&long, &[2], Some(40));
        assert!(
            narrow.contains("…") && narrow.contains("01234567") && narrow.contains("256.0 MiB"),
            "{narrow}"
        );
        for width in 20..120 {
            for line in table(&long, &[2], Some(width)).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn prose_is_wrapped_below_itself() {
        let rows = rows(&[&["data", "1 B", "all that is not zeros"], &["index", "20 B", "a cache"]]);
        let wrapped = "data    1 B  all that is not\n             zeros\nindex  20 B  a cache\n";
        assert_eq!(table(&rows, &[1], Some(30)), wrapped);
    }
}
