//! Tables for the look-up: what fits, and what wins.

use bytes::Bytes;

use super::body::Decision;
use super::matcher::{BodyRule, HeaderRule, Matcher, MethodRule, PathRule};
use super::pattern::Pattern;
use super::{Lookup, RouteTable, Unclear};
use crate::base::glob::Glob;
use crate::base::ids::{Id, RouteId};
use crate::base::rng::Rng;
use crate::codec::content::{BodyScanner, BodySeen, Sight};
use crate::codec::fields::FieldTable;
use crate::codec::head::RequestHead;
use crate::codec::json::{JsonFault, Wanted};
use crate::codec::split::split_request;

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
    body: &'a [(&'a str, &'a str)],
}

fn table(rows: &[Row<'_>]) -> RouteTable {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut wanted = Wanted::default();
    let mut matcher = |row: &Row<'_>| Matcher {
        host: given(row.host).map(|host| Glob::of_host(&host)),
        path: given(row.path).map(|path| PathRule::new(&path)),
        method: given(row.method).map(|method| MethodRule::new(&method)),
        headers: row
            .headers
            .iter()
            .map(|(name, value)| HeaderRule { name: (*name).to_owned(), value: Pattern::new(value).unwrap() })
            .collect(),
        body: row
            .body
            .iter()
            .map(|(path, value)| BodyRule {
                member: wanted.add(path).unwrap(),
                path: (*path).to_owned(),
                value: Pattern::new(value).unwrap(),
            })
            .collect(),
    };
    let rows = rows.iter().enumerate().map(|(at, row)| (matcher(row), RouteId::at(at))).collect();
    RouteTable::new(rows, wanted)
}

fn found(table: &RouteTable, head: &RequestHead) -> Option<usize> {
    match table.find(head) {
        Lookup::Route(id) => Some(id.position()),
        Lookup::NeedBody(_) | Lookup::NotFound | Lookup::OtherMethods(_) | Lookup::Unclear(_) => None,
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
    let table =
        RouteTable { rows: table.rows.into_iter().filter(|(row, _)| row.host.is_none()).collect(), ..table };
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
        Row { path: "/b", method: "PUT", ..Row::default() },
    ]);
    let methods = |names: &[&str]| Lookup::OtherMethods(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(table.find(&head("POST", "/a", "")), methods(&["GET", "HEAD", "PURGE"]));
    assert_eq!(table.find(&head("HEAD", "/a", "")), Lookup::Route(RouteId::at(0)));
    assert_eq!(table.find(&head("PURGE", "/a", "")), Lookup::Route(RouteId::at(1)));
    assert_eq!(table.find(&head("purge", "/a", "")), methods(&["GET", "HEAD", "PURGE"]));
    assert_eq!(table.find(&head("GET", "/b", "")), Lookup::NotFound, "its method is not what is wrong");
    assert_eq!(table.find(&head("POST", "/b", "")), methods(&["GET", "HEAD", "PUT"]));
    assert_eq!(table.find(&head("GET", "/c", "")), Lookup::NotFound);
    assert_eq!(table.find(&head("GET", "/a/../b", "")), Lookup::Unclear(Unclear::Path));
}

#[test]
fn parameters_take_one_segment() {
    let table = table(&[Row { path: "/v2/models/{model}/infer", ..Row::default() }]);
    assert_eq!(found(&table, &head("GET", "/v2/models/m/infer", "")), Some(0));
    for target in ["/v2/models/a/b/infer", "/v2/models/m/infer/", "/v2/models/m"] {
        assert_eq!(found(&table, &head("GET", target, "")), None, "{target}");
    }
}

/// Looks up a POST of `body`: the route's position, or what else was decided.
fn decide(table: &RouteTable, fields: &str, body: &str) -> Result<Result<usize, Decision>, JsonFault> {
    let fields = format!("{fields}content-length: {}\r\n", body.len());
    let head = head("POST", "/v1/chat", &fields);
    let rules = match table.find(&head) {
        Lookup::Route(route) => return Ok(Ok(route.position())),
        Lookup::NeedBody(rules) => rules,
        other => panic!("{other:?}"),
    };
    let mut scanner = BodyScanner::new(&head, table.wanted());
    scanner.feed(body.as_bytes())?;
    Ok(match table.decide(rules, &head, scanner.finish()?) {
        Decision::Route(route) => Ok(route.position()),
        other => Err(other),
    })
}

#[test]
fn bodies_decide_between_the_rows_that_fit_the_head() {
    let table = table(&[
        Row { body: &[("model", "llama-*")], ..Row::default() },
        Row { body: &[("model", "llama-3")], ..Row::default() },
        Row { body: &[("model", "~^llama")], ..Row::default() },
        Row { body: &[("model", "llama-3"), ("metadata.tier", "gold")], ..Row::default() },
        Row { headers: &[("x-team", "a")], body: &[("stream", "true")], ..Row::default() },
        Row { headers: &[("x-team", "a")], ..Row::default() },
    ]);
    let route = |fields, body| decide(&table, fields, body).unwrap();
    assert_eq!(route("", r#"{"model":"llama-9"}"#), Ok(0));
    assert_eq!(route("", r#"{"model":"llama-3"}"#), Ok(1));
    assert_eq!(route("", r#"{"model":"llama"}"#), Ok(2));
    assert_eq!(route("", r#"{"metadata":{"tier":"gold"},"model":"llama-3"}"#), Ok(3));
    assert_eq!(route("x-team: a\r\n", r#"{"stream":true,"model":"llama-3"}"#), Ok(4));
    assert_eq!(route("x-team: a\r\n", r#"{"stream":false,"model":"qwen"}"#), Ok(5));
    assert_eq!(
        route("x-team: a\r\n", "no JSON"),
        Ok(5),
        "another kind of body, and a route without conditions on it"
    );
    for (body, decision) in [
        (r#"{"model":"qwen"}"#, Decision::NoModel),
        (r#"{"model":3}"#, Decision::NoModel),
        (r#"{"model":{"name":"llama-3"}}"#, Decision::NoModel),
        ("{}", Decision::NoModel),
        ("[]", Decision::NoBody),
        ("llama-3", Decision::NoBody),
        (" \n ", Decision::NoBody),
    ] {
        assert_eq!(route("", body), Err(decision), "{body}");
    }
    let refused = |body| decide(&table, "", body).unwrap_err();
    assert_eq!(refused(r#"{"model":"llama-3","model":"x"}"#), JsonFault::Doubled { member: 0 });
    for (broken, fault) in [
        (r#" {"model":"llama-3""#, JsonFault::Incomplete),
        (r#"{"model":"llama-3"}}"#, JsonFault::Malformed { at: 19 }),
        ("{{name}}", JsonFault::Malformed { at: 1 }),
    ] {
        for fields in ["", "x-team: a\r\n"] {
            assert_eq!(decide(&table, fields, broken), Err(fault), "it does not fail open: {broken}");
        }
    }
}

#[test]
fn forms_decide_like_objects() {
    let table = table(&[Row { body: &[("model", "whisper-*")], ..Row::default() }]);
    let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
    let route = |fields, body| decide(&table, fields, body).unwrap();
    assert_eq!(route("content-type: multipart/form-data; boundary=b\r\n", form), Ok(0));
    assert_eq!(route("content-type: multipart/mixed; boundary=b\r\n", form), Err(Decision::NoBody));
    let other = form.replace("whisper", "other");
    assert_eq!(route("content-type: multipart/form-data; boundary=b\r\n", &other), Err(Decision::NoModel));
}

#[test]
fn only_routes_without_other_conditions_are_not_found_otherwise() {
    let table = table(&[Row { body: &[("metadata.tier", "gold")], ..Row::default() }]);
    assert_eq!(decide(&table, "", r#"{"metadata":{}}"#), Ok(Err(Decision::NoRoute)));
    let none = head("GET", "/", "");
    let Lookup::NeedBody(rules) = table.find(&none) else { panic!("the body is asked for") };
    assert_eq!(table.decide(rules, &none, BodySeen::Nothing), Decision::NoBody);
}

#[test]
fn what_is_covered_fits_what_covers_it() {
    let hosts = ["", "*", "a.*", "*.x", "a.x", "A.x"];
    let paths = [
        "",
        "/",
        "/a",
        "/a/*",
        "/*",
        "/{p}",
        "/a/{p}",
        "/{p}/b",
        "/a/b",
        "/a/{p}/c",
        "/a/b/*",
        "/%61",
        "/{p*}",
        "/a/{p*}",
        "/{q}/{p*}",
        "/a/b/{p*}",
    ];
    let methods = ["", "GET", "HEAD", "POST"];
    let headers: [&[(&str, &str)]; 7] = [
        &[],
        &[("x", "*")],
        &[("x", "v*")],
        &[("X", "v1")],
        &[("x", "~^v")],
        &[("x", "*1*")],
        &[("y", "v1")],
    ];
    let mut rows = Vec::new();
    for host in hosts {
        for path in paths {
            for method in methods {
                rows.extend(headers.map(|headers| Row { host, path, method, headers, ..Row::default() }));
            }
        }
    }
    let mut asked = Vec::new();
    for host in ["a.x", "a.y", "b.x"] {
        for path in ["/", "/a", "/a/", "/b", "/a/b", "/a/b/", "/a/b/c", "/c/b"] {
            for method in ["GET", "HEAD", "POST"] {
                for fields in ["", "x: v1\r\n", "x: v2\r\ny: v1\r\n"] {
                    let text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
                    asked.push(split_request(Bytes::from(text), FieldTable::default()).unwrap());
                }
            }
        }
    }
    let matchers: Vec<Matcher> = table(&rows).rows.into_iter().map(|(matcher, _)| matcher).collect();
    let fitting: Vec<Vec<bool>> = matchers
        .iter()
        .map(|matcher| {
            let fits = |head: &RequestHead| {
                matcher.has_place(head.authority(), head.path())
                    && matcher.method().is_none_or(|method| method.accepts(head))
                    && matcher.has_headers(head, &[])
            };
            asked.iter().map(fits).collect()
        })
        .collect();
    let mut covered = 0;
    for (one, fits_one) in matchers.iter().zip(&fitting) {
        for (other, fits_other) in matchers.iter().zip(&fitting) {
            if one.covers(other) {
                covered += 1;
                let is_sound = fits_one.iter().zip(fits_other).all(|(one, other)| *one || !*other);
                assert!(is_sound, "{one:?} does not cover {other:?}");
            }
        }
    }
    assert!(covered > 10 * matchers.len(), "{covered} of {}", matchers.len());
}

#[test]
fn a_host_has_one_form() {
    let table = table(&[
        Row { host: "api.local.", ..Row::default() },
        Row { host: "*.example", ..Row::default() },
        Row { host: "[0:0::1]", ..Row::default() },
    ]);
    for (host, route) in [
        ("api.local", Some(0)),
        ("API.local.:80", Some(0)),
        ("api.local..", Some(0)),
        ("a.example.", Some(1)),
        ("[::1]:80", Some(2)),
        ("[0000::0001]", Some(2)),
        ("api.local.x", None),
        (".", None),
        ("[::2]", None),
    ] {
        let text = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let head = split_request(Bytes::from(text), FieldTable::default()).unwrap();
        assert_eq!(found(&table, &head), route, "{host}");
    }
}

#[test]
fn readings_of_a_request_must_agree() {
    let table = table(&[
        Row { path: "/v1/*", ..Row::default() },
        Row { headers: &[("x-team", "a")], ..Row::default() },
        Row { headers: &[("X-Team", "b"), ("x-zone", "1")], ..Row::default() },
        Row { path: "/m/{m}", method: "PUT", ..Row::default() },
    ]);
    let ask = |target: &str, fields: &str| table.find(&head("GET", target, fields));
    let (route, path) = (|at| Lookup::Route(RouteId::at(at)), Lookup::Unclear(Unclear::Path));
    let field = |at| Lookup::Unclear(Unclear::Header(at));
    assert_eq!(table.judged(), ["x-team", "x-zone"]);
    for (target, fields, found) in [
        ("/v1/a%2Fb", "", route(0)),
        ("/v1%2Fb", "", path),
        ("/x", "x-team: a\r\nx-team: a\r\n", route(1)),
        ("/x", "x-team: a\r\nx-team: b\r\n", field(0)),
        ("/v1/x", "x-team: a\r\nx-team: b\r\n", route(0)),
        ("/x", "x-team: b\r\nx-zone: 1\r\nx-zone: 2\r\n", field(1)),
        ("/x", "x-team: b\r\nx-zone: 3\r\nx-zone: 2\r\n", Lookup::NotFound),
        ("/x", "x-team: a\r\nx-zone: 1\r\nx-zone: 2\r\n", route(1)),
        ("/x", "x-team: b\r\nx-team: c\r\nx-zone: 1\r\nx-zone: 2\r\n", field(0)),
        ("/x;y", "x-team: a\r\nx-team: a\r\n", route(1)),
        ("//m/x", "", Lookup::NotFound),
    ] {
        assert_eq!(ask(target, fields), found, "{target} {fields}");
    }
    let many = |count: usize| (0..count).map(|at| format!("x-zone: {at}\r\n")).collect::<String>();
    assert_eq!(ask("/v1/x", &many(16)), route(0));
    assert_eq!(ask("/v1/x", &many(17)), field(1), "too many to look up");
}

/// A body that may be JSON, with members that routes ask for, doubled now and then, and spoilt at one place at times.
fn random_body(rng: &mut Rng) -> String {
    let value = |rng: &mut Rng, depth: u64| -> String {
        let plain = ["\"a\"", "\"b\"", "\"bb\"", "5", "null", "true", "[1]", "{}", "\"mod\\u0065l\"", "NaN"];
        let deep = [
            "{\"tier\":\"gold\"}",
            "{\"tier\":\"tin\",\"x\":1}",
            "{\"x\":{\"tier\":\"gold\"}}",
            "[{\"tier\":\"gold\"}]",
        ];
        match rng.below(3) {
            0 if depth == 0 => deep[rng.below(4) as usize].to_owned(),
            _ => plain[rng.below(10) as usize].to_owned(),
        }
    };
    let keys = ["model", "mod\\u0065l", "metadata", "x", "stream", "messages", "user"];
    let mut text = String::from("{");
    for at in 0..rng.below(6) {
        let key = match rng.below(40) {
            0 => "Model",
            _ => keys[rng.below(7) as usize],
        };
        text.push_str(&format!("{}\"{key}\":{}", if at > 0 { ", " } else { "" }, value(rng, 0)));
    }
    text.push_str(["}", "} ", "}\n", "", "}x", "}}"][rng.below(24).saturating_sub(18) as usize]);
    if rng.below(6) == 0 {
        let at = rng.below(text.len() as u64) as usize;
        text.insert(at, [']', '"', ',', 'x', ' ', '{'][rng.below(6) as usize]);
    }
    text
}

#[test]
fn what_is_foreseen_comes_true_unless_the_body_is_unsound() {
    let table = table(&[
        Row { body: &[("model", "a")], ..Row::default() },
        Row { body: &[("model", "b*"), ("metadata.tier", "gold")], ..Row::default() },
        Row { body: &[("stream", "true")], ..Row::default() },
        Row { path: "/v1/*", body: &[("user", "~.")], ..Row::default() },
        Row { path: "/v1/*", ..Row::default() },
    ]);
    let (mut early, mut late, mut unsound, mut nowhere) = (0, 0, 0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let head = head("POST", ["/v1/x", "/other"][rng.below(2) as usize], "content-length: 9\r\n");
        let Lookup::NeedBody(rules) = table.find(&head) else { panic!("bodies decide") };
        let text = random_body(&mut rng);
        let mut scanner = BodyScanner::new(&head, table.wanted());
        let (mut foreseen, mut fault, mut at) = (None, None, 0);
        for byte in text.as_bytes().chunks(1) {
            fault = fault.or(scanner.feed(byte).err());
            at += 1;
            let Sight::Members(members, known) = scanner.sight() else { continue };
            let now = table.foresee(rules, &head, (members, known));
            if let (None, Some((before, _))) = (fault, foreseen) {
                assert_eq!(now, Some(before), "seed {seed}: it changed its mind: {text}");
            }
            foreseen = foreseen.or(now.filter(|_| fault.is_none()).map(|route| (route, at)));
        }
        match (fault.map_or_else(|| scanner.finish(), Err), foreseen) {
            (Err(_), _) => unsound += 1,
            (Ok(seen), Some((route, at))) => {
                assert_eq!(table.decide(rules, &head, seen), Decision::Route(route), "seed {seed}: {text}");
                *(if at < text.trim_end().len() { &mut early } else { &mut late }) += 1;
            }
            // Another kind of body.
            (Ok(BodySeen::Nothing), None) => {}
            (Ok(seen), None) => {
                // Where the whole is known nothing is left to foresee but that there is no route.
                assert_eq!(table.decide(rules, &head, seen).route(), None, "seed {seed}: {text}");
                nowhere += 1;
            }
        }
    }
    let all = [early, late, unsound, nowhere];
    assert!(all.iter().all(|count| *count > 500), "{all:?}");
}

#[test]
fn the_first_byte_that_decides_is_the_one() {
    let rows = [
        Row { body: &[("model", "a")], ..Row::default() },
        Row { body: &[("model", "b"), ("metadata.tier", "gold")], ..Row::default() },
        Row::default(),
    ];
    let (closed, open) = (table(&rows[..2]), table(&rows));
    for (table, body, decides) in [
        (&closed, r#"{"model":"a"|,"x":1}"#, Some(0)),
        (&closed, r#"{"model":"b","metadata":{"tier":"gold"|}}"#, Some(1)),
        (&closed, r#"{"metadata":{"tier":"gold"},"model":"b"|}"#, Some(1)),
        (&closed, r#"{"x":{"model":"a"},"model":"a"|}"#, Some(0)),
        // There is no other, but this one may still not fit.
        (&closed, r#"{"metadata":{"tier":"gold"},"x":1}"#, None),
        (&open, r#"{"model":"c"|,"metadata":{}}"#, Some(2)),
        (&open, r#"{"metadata":{"x":1},"x":1}|"#, Some(2)),
        (&open, r#"{"model":"b","metadata":{"x":{"tier":"gold"}}|}"#, Some(2)),
        (&open, r#"{"model":"b","metadata":null|}"#, Some(2)),
        (&open, r#"{"model":[|"a"]}"#, Some(2)),
        (&open, r#"{"x":1}|"#, Some(2)),
    ] {
        let head = head("POST", "/x", "content-length: 9\r\n");
        let Lookup::NeedBody(rules) = table.find(&head) else { panic!("bodies decide") };
        let place = body.find('|');
        let mut scanner = BodyScanner::new(&head, table.wanted());
        let found = body.replace('|', "").bytes().enumerate().find_map(|(at, byte)| {
            scanner.feed(&[byte]).unwrap();
            let Sight::Members(members, known) = scanner.sight() else { return None };
            table.foresee(rules, &head, (members, known)).map(|route| (at + 1, route.position()))
        });
        assert_eq!(found, place.zip(decides), "{body}");
    }
}
