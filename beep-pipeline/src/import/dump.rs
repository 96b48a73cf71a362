//! A plain dump of Postgres (`pg_dump`): the rows of its `COPY` blocks, by table and column.

use beep_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io::BufRead;

/// The longest line that is read: the original's texts had at most 64 Ki characters.
const MAX_LINE: u64 = 4 << 20;

/// A row of one of the asked tables: text by column, NULL left out.
pub(super) type Row = BTreeMap<String, String>;

/// The rows of these tables, in the order of the file, and lines that could not be read.
///
/// [`ErrorKind::Malformed`] for a file that has none of the tables, that ends inside a block, or that is no text.
pub(super) fn rows(
    file: &mut dyn BufRead,
    tables: &[&str],
    mut each: impl FnMut(&str, std::result::Result<Row, String>, u64),
) -> Result<()> {
    let (mut line, mut number, mut known) = (Vec::new(), 0, false);
    let mut block: Option<Block> = None;
    while read(file, &mut line)? {
        number += 1;
        let text = std::str::from_utf8(&line).map_err(|_| malformed(number, "it is not text in UTF-8"));
        match &block {
            None => {
                // What is no COPY is not needed, whatever its encoding.
                block = text.ok().and_then(Block::begin);
                known |= block.as_ref().is_some_and(|b| tables.contains(&&*b.table));
            }
            Some(_) if line == b"\\." => block = None,
            Some(b) if tables.contains(&&*b.table) => each(&b.table, b.row(text?), number),
            Some(_) => {}
        }
    }
    match block {
        Some(block) => Err(malformed(number, &format!("it ends inside the rows of `{}`", block.table))),
        None if known => Ok(()),
        None => Err(Error::new(
            ErrorKind::Malformed,
            format!("this is no dump of the original: it has no `COPY` of {}", tables.join(", ")),
        )),
    }
}

fn malformed(line: u64, why: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the dump cannot be read: {why}")).with("line", line)
}

/// The next line without its end; false where there is none.
fn read(file: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let mut limited = std::io::Read::take(file, MAX_LINE);
    let n = limited
        .read_until(b'\n', line)
        .map_err(|e| Error::new(ErrorKind::Internal, "the dump cannot be read").with_source(e))?;
    if n as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Err(Error::new(ErrorKind::Malformed, "the dump has a line that is too long to be one"));
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(n > 0)
}

/// What stands between `COPY … FROM stdin;` and `\.`.
struct Block {
    table: String,
    columns: Vec<String>,
}

impl Block {
    fn begin(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?;
        let (table, columns) = rest.split_once(" (")?;
        // `public."user"`: the schema does not matter.
        let table = table.rsplit_once('.').map_or(table, |(_, table)| table);
        let name = |quoted: &str| quoted.trim().trim_matches('"').to_owned();
        let columns = columns.strip_suffix(')')?.split(',').map(name).collect();
        Some(Self { table: name(table), columns })
    }

    fn row(&self, line: &str) -> std::result::Result<Row, String> {
        let fields: Vec<_> = line.split('\t').collect();
        if fields.len() != self.columns.len() {
            return Err(format!("it has {} fields where {} belong", fields.len(), self.columns.len()));
        }
        let mut row = Row::new();
        for (column, field) in self.columns.iter().zip(fields) {
            if field != "\\N" {
                row.insert(column.clone(), unescaped(field)?);
            }
        }
        Ok(row)
    }
}

/// The text of a field.
fn unescaped(field: &str) -> std::result::Result<String, String> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some(escaped) = rest.next() else { return Err("a field ends with a backslash".into()) };
        bytes.push(match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                }
                value as u8
            }
            b'x' if rest.peek().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(u8::is_ascii_hexdigit) else { break };
                    value = value * 16 + (digit as char).to_digit(16).unwrap_or_default();
                }
                value as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".into())
}

/// The text in a BYTEA, which a dump writes as `\x` and hexadecimal digits: the original kept its ids like that.
pub(super) fn bytea(field: &str) -> Option<String> {
    let Some(hex) = field.strip_prefix("\\x") else { return Some(field.to_owned()) };
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    String::from_utf8(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()).ok()
}
