//! The ledger of S3 (`tests/clients/s3-ledger.md`) against the operations that the code knows, the tests that there are,
//! and a running node.

mod common;

use boveda::http::s3::rows::{Operation, Outcome, operations};
use common::Node;
use common::s3::{S3, text};
use std::collections::BTreeMap;
use std::path::Path;

const LEDGER: &str = include_str!("clients/s3-ledger.md");

/// A row of the ledger: operation, how it is asked for, what becomes of it, and the answer or the test.
type Row = [&'static str; 4];

/// The rows of a section.
fn rows(section: &str) -> Vec<Row> {
    let behind = LEDGER.split_once(&format!("## {section}\n")).expect("a section").1;
    let body = behind.split_once("\n## ").map_or(behind, |(body, _)| body);
    let lines = body.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| operation"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            cells.try_into().unwrap_or_else(|cells| panic!("a row of four cells: {cells:?}"))
        })
        .collect()
}

/// What stands first between backticks.
fn quoted(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

#[test]
fn every_operation_has_a_row_that_says_what_becomes_of_it() {
    let known: BTreeMap<&str, Operation> = operations().into_iter().map(|row| (row.name, row)).collect();
    let told: BTreeMap<&str, Row> = rows("Operations").into_iter().map(|row| (row[0], row)).collect();
    assert_eq!(known.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    assert_eq!(known.len(), rows("Operations").len(), "each once");
    for (name, operation) in known {
        let [_, asked, outcome, _] = told[name];
        let query = operation.query.map(|query| format!("?{query}")).unwrap_or_default();
        assert_eq!(quoted(asked), Some(&*format!("{} {}{query}", operation.method, operation.path)), "{name}");
        let outcomes: &[&str] = match operation.outcome {
            Outcome::Works => &["works"],
            Outcome::Calm => &["calm"],
            Outcome::Refused => &["refused", "planned", "planned next"],
        };
        assert!(outcomes.contains(&outcome), "{name} is {outcome}");
    }
    for [operation, option, outcome, _] in rows("Options") {
        assert!(told.contains_key(operation), "{operation}: {option}");
        assert!(["works", "refused", "planned", "planned next"].contains(&outcome), "{operation}: {option}");
    }
}

#[test]
fn what_works_has_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let all = rows("Operations").into_iter().chain(rows("Options"));
    let named: Vec<Row> = all.filter(|row| row[2] == "works").collect();
    assert!(named.len() > 20, "the page is read as it is written");
    for [operation, option, _, test] in named {
        let (file, function) = test.split_once("::").unwrap_or_else(|| panic!("{operation}: {option} names no test"));
        let source = std::fs::read_to_string(tests.join(format!("{file}.rs")));
        let source = source.unwrap_or_else(|error| panic!("{operation}: {option}: {file}: {error}"));
        assert!(source.contains(&format!("fn {function}()")), "{operation}: {option}: there is no {test}");
    }
}

/// Asks for an operation, with an option besides; status and code of the answer.
fn ask(s3: &S3<'_>, operation: &Operation, option: Option<&str>) -> (u16, Option<String>) {
    let mut target = operation.path.replace("{bucket}", "ledger").replace("{key}", "k");
    let mut headers: Vec<(&str, &str)> = Vec::new();
    let mut parameters: Vec<String> = operation.query.iter().map(|name| selected_by(name)).collect();
    if let Some(name) = operation.header {
        headers.push((name, "/ledger/k"));
    }
    match option.map(|option| (option, option.strip_prefix('?'))) {
        Some((_, Some(parameter))) => parameters.push(parameter.to_owned()),
        Some((option, None)) => headers.push(option.split_once(": ").expect("a header and its value")),
        None => {}
    }
    if !parameters.is_empty() {
        target = format!("{target}?{}", parameters.join("&"));
    }
    let answer = s3.ask(operation.method, &target, &headers, b"");
    let code = text(answer.text(), "Code").map(str::to_owned);
    (answer.status, code)
}

/// The parameter that selects an operation, with a value.
fn selected_by(name: &str) -> String {
    format!("{name}={}", if name == "list-type" { "2" } else { "" })
}

#[test]
fn what_does_not_work_is_told_as_the_ledger_says() {
    let mut node = Node::start();
    let key = node.new_key("ledger", &["*:read,write,list,delete,admin,bypass"]);
    node.ask_by(&key);
    let s3 = S3::new(&node, &key);
    assert_eq!(s3.ask("PUT", "/ledger", &[], b"").status, 200);
    assert_eq!(s3.ask("PUT", "/ledger/k", &[], b"v").status, 200);
    let known: BTreeMap<&str, Operation> = operations().into_iter().map(|row| (row.name, row)).collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    let asked = rows("Operations").into_iter().map(|row| (row, None));
    let asked = asked.chain(rows("Options").into_iter().map(|row| (row, quoted(row[1]))));
    for ([name, how, outcome, answer], option) in asked {
        if outcome == "works" {
            continue;
        }
        let (status, code) = ask(&s3, &known[name], option);
        let told = match (code, known[name].method) {
            // A HEAD has no body to tell it in.
            (None, "HEAD") => format!("{status} {}", answer.split_once(' ').map_or("", |(_, code)| code)),
            (None, _) => status.to_string(),
            (Some(code), _) => format!("{status} {code}"),
        };
        if told != answer {
            wrong.push(format!("{name}, {how}: {told} in the place of {answer}"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "the page is read as it is written");
}
