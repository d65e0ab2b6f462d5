//! Columns of the live view: each as wide as what it shows, and on a narrow terminal fewer of them
//! rather than all of them cut.

use ratatui::layout::Constraint;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Cell, Row, Table};

/// Between two columns.
const GAP: usize = 1;
/// The frame around a table.
const FRAME: usize = 2;
/// What a column of free text needs at least.
const FREE_TEXT: usize = 16;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    head: &'static str,
    /// How soon it goes where there is no room, the highest first; one of rank 0 stays.
    rank: u8,
    cells: Vec<(String, Style)>,
    is_free_text: bool,
}

impl Column {
    /// A column of these cells.
    pub fn new(head: &'static str, rank: u8, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|text| (text, Style::new()));
        Self {
            head,
            rank,
            cells: cells.collect(),
            is_free_text: false,
        }
    }

    /// The same with a style for each cell.
    pub fn styled(mut self, styles: impl IntoIterator<Item = Style>) -> Self {
        for ((_, style), wanted) in self.cells.iter_mut().zip(styles) {
            *style = wanted;
        }
        self
    }

    /// The same as free text, which may be cut and takes what room is left.
    pub fn free_text(mut self) -> Self {
        self.is_free_text = true;
        self
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(text, _)| text.chars().count());
        let widest = cells.max().unwrap_or(0).max(self.head.chars().count());
        if self.is_free_text {
            widest.min(FREE_TEXT)
        } else {
            widest
        }
    }

    fn constraint(&self) -> Constraint {
        let width = u16::try_from(self.width()).unwrap_or(u16::MAX);
        if self.is_free_text {
            Constraint::Min(width)
        } else {
            Constraint::Length(width)
        }
    }
}

/// The columns that fit side by side into so many cells, frame included.
fn fit(mut columns: Vec<Column>, width: u16) -> Vec<Column> {
    loop {
        let gaps = columns.len().saturating_sub(1) * GAP;
        let needed = columns.iter().map(Column::width).sum::<usize>() + gaps + FRAME;
        let least = columns.iter().enumerate().max_by_key(|(_, it)| it.rank);
        match least {
            Some((index, column)) if needed > usize::from(width) && column.rank > 0 => {
                columns.remove(index);
            }
            _ => return columns,
        }
    }
}

/// A table of the columns that fit.
pub fn table(title: &'static str, columns: Vec<Column>, width: u16) -> Table<'static> {
    let columns = fit(columns, width);
    let head: Vec<_> = columns.iter().map(|column| column.head).collect();
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let row = |index: usize| {
        let cells = columns.iter().map(|column| {
            let (text, style) = &column.cells[index];
            Cell::from(text.clone()).style(*style)
        });
        Row::new(cells.collect::<Vec<_>>())
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    let widths: Vec<_> = columns.iter().map(Column::constraint).collect();
    Table::new(rows, widths)
        .column_spacing(u16::try_from(GAP).unwrap_or(1))
        .header(head)
        .block(Block::bordered().title(title))
}

/// A text as lines of at most so many characters, broken at spaces where there are some.
pub fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width).max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if !line.is_empty() && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(head: &'static str, rank: u8, cell: &str) -> Column {
        Column::new(head, rank, [cell.to_owned()])
    }

    #[test]
    fn what_matters_least_goes_first_and_rank_0_stays() {
        let columns = vec![
            column("region", 0, "ap-northeast-1"),
            column("pid", 2, "4711"),
            column("api", 1, "127.0.0.1:7000"),
        ];
        let heads = |width: u16| -> Vec<_> {
            let fitting = fit(columns.clone(), width);
            fitting.iter().map(|column| column.head).collect()
        };
        // 14 + 4 + 14, two gaps, the frame.
        assert_eq!(heads(36), ["region", "pid", "api"]);
        assert_eq!(heads(35), ["region", "api"]);
        assert_eq!(heads(30), ["region"]);
        assert_eq!(heads(3), ["region"]);
    }

    #[test]
    fn free_text_asks_for_little() {
        let remark = column("remark", 1, &"x".repeat(200)).free_text();
        let columns = vec![column("region", 0, "a"), remark];
        assert_eq!(fit(columns, 30).len(), 2);
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("a abcdefgh", 3), ["a", "abc", "def", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
