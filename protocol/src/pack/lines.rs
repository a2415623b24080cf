//! Where the records of a CSV text are.

/// Says on which line of a CSV text a record begins. The reader's own numbers are one short after `\r\n`, which it takes for
/// an end of line and something that is skipped before the next record, and after blank lines.
#[derive(Debug)]
pub struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    /// Of the text that the reader reads, from its beginning.
    #[must_use]
    pub const fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The first line of a record, counted from 1. Records are asked for in their order.
    pub fn of(&mut self, record: &csv::StringRecord) -> u64 {
        let text = self.text;
        let mut begins =
            record.position().map_or(0, |position| position.byte() as usize).clamp(self.at, text.len());
        while text.get(begins).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            begins += 1;
        }
        for at in self.at..begins {
            let ends = text[at] == b'\n' || text[at] == b'\r' && text.get(at + 1) != Some(&b'\n');
            self.line += u64::from(ends);
        }
        self.at = begins;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let mut lines = Lines::new(text.as_bytes());
        reader.records().map(|record| lines.of(&record.unwrap())).collect()
    }

    #[test]
    fn the_ends_of_lines_of_all_systems_and_blank_lines_count() {
        assert_eq!(lines("a,b\n1,2\n\n3,4\n"), [2, 4]);
        assert_eq!(lines("a,b\r\n1,2\r\n\r\n3,4\r\n"), [2, 4]);
        assert_eq!(lines("a,b\r1,2\r3,4"), [2, 3]);
        assert_eq!(lines("a,b\r\n1,\"x\r\ny\"\r\n3,4"), [2, 4]);
    }
}
