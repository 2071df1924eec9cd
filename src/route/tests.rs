//! Tables for the look-up: what fits, and what wins.

use bytes::Bytes;

use super::glob::Glob;
use super::matcher::{HeaderRule, Matcher, MethodRule, PathRule};
use super::{Lookup, RouteTable};
use crate::base::ids::{Id, RouteId};
use crate::codec::head::{FieldTable, RequestHead, split_request};

fn head(method: &str, target: &str, fields: &str) -> RequestHead {
    let text = format!("{method} {target} HTTP/1.1\r\nhost: api.local:8080\r\n{fields}\r\n");
    split_request(Bytes::from(text), FieldTable::default()).unwrap()
}

#[derive(Default)]
struct Row<'a> {
    host: &'a str,
    path: &'a str,
    method: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

fn table(rows: &[Row<'_>]) -> RouteTable {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let matcher = |row: &Row<'_>| Matcher {
        host: given(row.host).map(|host| Glob::new(&host)),
        path: given(row.path).map(|path| PathRule::new(&path)),
        method: given(row.method).map(|method| MethodRule::new(&method)),
        headers: row
            .headers
            .iter()
            .map(|(name, value)| HeaderRule { name: (*name).to_owned(), value: Glob::new(value) })
            .collect(),
    };
    RouteTable::new(rows.iter().enumerate().map(|(at, row)| (matcher(row), RouteId::at(at))).collect())
}

fn found(table: &RouteTable, head: &RequestHead) -> Option<usize> {
    match table.find(head) {
        Lookup::Route(id) => Some(id.position()),
        Lookup::NotFound | Lookup::OtherMethods(_) | Lookup::BadPath => None,
    }
}

#[test]
fn the_most_specific_route_wins_wherever_it_stands() {
    let table = table(&[
        Row::default(),
        Row { path: "/v1/*", ..Row::default() },
        Row { path: "/v1/{what}", ..Row::default() },
        Row { path: "/v1/models", ..Row::default() },
        Row { path: "/v1/models", method: "POST", ..Row::default() },
        Row { path: "/v1/models", headers: &[("x-team", "vision-*")], ..Row::default() },
        Row { path: "/v1/models", headers: &[("x-team", "vision-1")], ..Row::default() },
        Row { path: "/v1/long/*", ..Row::default() },
        Row { host: "*.local", ..Row::default() },
        Row { host: "other.local", path: "/v1/models", ..Row::default() },
    ]);
    let ask = |method, target, fields| found(&table, &head(method, target, fields));
    assert_eq!(ask("GET", "/v1/models", ""), Some(8), "a host outweighs any path");
    let table = RouteTable { rows: table.rows.into_iter().filter(|(row, _)| row.host.is_none()).collect() };
    let ask = |method, target, fields| found(&table, &head(method, target, fields));
    assert_eq!(ask("GET", "/", ""), Some(0));
    assert_eq!(ask("GET", "/v1/a/b", ""), Some(1));
    assert_eq!(ask("GET", "/v1", ""), Some(1));
    assert_eq!(ask("GET", "/v1/other?x", ""), Some(2));
    assert_eq!(ask("GET", "/v1/models?x", ""), Some(3));
    assert_eq!(ask("POST", "/v1/models", ""), Some(4));
    assert_eq!(ask("GET", "/v1/models", "X-Team: vision-9\r\n"), Some(5));
    assert_eq!(ask("GET", "/v1/models", "X-Team: vision-1\r\n"), Some(6));
    assert_eq!(ask("GET", "/v1/long/x/y", ""), Some(7));
    assert_eq!(ask("GET", "/v1/%6Dodels", ""), Some(3));
}

#[test]
fn only_a_wrong_method_is_405_and_it_names_the_right_ones() {
    let table = table(&[
        Row { path: "/a", method: "GET", ..Row::default() },
        Row { path: "/a", method: "PURGE", ..Row::default() },
        Row { path: "/b", method: "GET", headers: &[("x", "1")], ..Row::default() },
    ]);
    let methods = |names: &[&str]| Lookup::OtherMethods(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(table.find(&head("POST", "/a", "")), methods(&["GET", "HEAD", "PURGE"]));
    assert_eq!(table.find(&head("HEAD", "/a", "")), Lookup::Route(RouteId::at(0)));
    assert_eq!(table.find(&head("PURGE", "/a", "")), Lookup::Route(RouteId::at(1)));
    assert_eq!(table.find(&head("purge", "/a", "")), methods(&["GET", "HEAD", "PURGE"]));
    assert_eq!(table.find(&head("GET", "/b", "")), Lookup::NotFound);
    assert_eq!(table.find(&head("GET", "/c", "")), Lookup::NotFound);
    assert_eq!(table.find(&head("GET", "/a/../b", "")), Lookup::BadPath);
}

#[test]
fn parameters_take_one_segment() {
    let table = table(&[Row { path: "/v2/models/{model}/infer", ..Row::default() }]);
    assert_eq!(found(&table, &head("GET", "/v2/models/m/infer", "")), Some(0));
    for target in ["/v2/models//infer", "/v2/models/a/b/infer", "/v2/models/m/infer/", "/v2/models/m"] {
        assert_eq!(found(&table, &head("GET", target, "")), None, "{target}");
    }
}
