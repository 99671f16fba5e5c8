//! Tables as kubectl's and Flux's are: cells padded to their column, a tab behind each.

/// Returns a table; an empty `header` leaves the line of names out.
///
/// A cell of several lines makes its row as many lines high.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|name| name.to_uppercase()).collect();
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(header.len());
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
        cells.flat_map(|cell| cell.split('\n')).map(columns).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    if !header.is_empty() {
        let cells = header.iter().zip(&widths).map(|(name, width)| padded(name, *width));
        // As Flux has it, behind the last name stands a space and no tab.
        text += &cells.collect::<Vec<_>>().join("\t");
        text += " \n";
    }
    for row in rows {
        let lines: Vec<Vec<&str>> = row.iter().map(|cell| cell.split('\n').collect()).collect();
        for n in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
            for (cell, width) in lines.iter().zip(&widths) {
                text += &padded(cell.get(n).copied().unwrap_or_default(), *width);
                text.push('\t');
            }
            text.push('\n');
        }
    }
    text
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &[&str], rows: &[&[&str]], expected: &str) {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
        assert_eq!(render(header, &rows), expected);
    }

    #[test]
    fn cells_are_padded_to_their_column() {
        check(&["Name", "Ready"], &[&["a", "True"]], "NAME\tREADY \na   \tTrue \t\n");
        check(&[], &[&["a", "True"], &["bb", ""]], "a \tTrue\t\nbb\t    \t\n");
        check(&["Name", "Message"], &[], "NAME\tMESSAGE \n");
        check(&[], &[], "");
    }

    #[test]
    fn a_cell_of_two_lines_makes_two() {
        check(&[], &[&["a", "é\ntwo"]], "a\té  \t\n \ttwo\t\n");
    }
}
