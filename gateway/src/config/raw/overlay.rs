//! Variables of the environment, laid over the file's table.

use toml::{Table, Value};

use super::PREFIX;

/// Puts a variable's value where its name says. It is read as TOML where it is TOML, else as text; commas separate the
/// parts of a list.
pub(super) fn overlay(table: &mut Table, name: &str, value: String, problems: &mut Vec<String>) {
    let lower = name.to_ascii_lowercase();
    let mut levels: Vec<_> = lower.split("__").collect();
    let Some(key) = levels.pop().filter(|key| !key.is_empty()) else {
        return;
    };
    let mut place = table;
    for level in levels {
        let inner = place
            .entry(level)
            .or_insert_with(|| Table::new().into())
            .as_table_mut();
        let Some(inner) = inner else {
            problems.push(format!("{PREFIX}{name}: {level} is not a section"));
            return;
        };
        place = inner;
    }
    let is_list = matches!(
        lower.as_str(),
        "proxy__listen" | "upstream__extra_roots" | "upstream__deny" | "feed__control"
    );
    // A join string or a name of digits is still text.
    let is_text = matches!(key, "join" | "name" | "level");
    let parsed = || format!("v = {value}").parse::<Table>().ok()?.remove("v");
    let value = if is_list && !value.starts_with('[') {
        value
            .split(',')
            .map(|part| part.trim().to_owned())
            .collect::<Vec<_>>()
            .into()
    } else if is_text {
        Value::from(value)
    } else {
        parsed().unwrap_or_else(|| Value::from(value))
    };
    let _before = place.insert(key.to_owned(), value);
}
