//! Browsers: preflights are answered by the gateway, and every answer says whose pages may read it.

use crate::support::{Gateway, Upstream};

const CORS: &str =
    "[filter.browser]\nkind = \"cors\"\norigins = [\"https://app.example\", \"https://*.example.org\"]\n";
const NOBODY: &str = "[filter.nobody]\nkind = \"ip\"\ndeny = [\"127.0.0.0/8\"]\n";
const ORIGIN: &str = "origin: https://app.example\r\n";

/// The answer to a request without a body.
fn ask(gateway: &Gateway, request: &str, fields: &str) -> String {
    let mut client = gateway.connect();
    client.send(format!("{request} HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
    client.read_message()
}

/// The values of the fields called `name`.
fn values(answer: &str, name: &str) -> Vec<String> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

fn preflight(origin: &str, method: &str) -> String {
    format!(
        "origin: {origin}\r\naccess-control-request-method: {method}\r\naccess-control-request-headers: x-a\r\n"
    )
}

/// One route with `filters`, before an endpoint that has its own mind about origins, and one that is open.
fn gateway(filters: &str, listener: &str) -> Gateway {
    let up = Upstream::start().serve(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nAccess-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n\
         vary: accept\r\nallow: theirs\r\n\r\nok",
    );
    Gateway::start_with(
        &format!(
            "{CORS}{NOBODY}[[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [{listener}]\n[cluster.up]\nendpoints = [{up:?}]\n\
             [[route]]\nname = \"chat\"\nmatch = {{ path = \"/chat\", method = \"POST\", header = {{ x-a = \"1\" }}, body = {{ model = \"m\" }} }}\n\
             to = \"up\"\nfilters = [{filters}]\n\
             [[route]]\nname = \"list\"\nmatch = {{ path = \"/list\", method = \"GET\" }}\nto = \"up\"\nfilters = [{filters}]\n\
             [[route]]\nname = \"nobody\"\nmatch = {{ path = \"/nobody\" }}\nto = \"up\"\nfilters = [\"nobody\"]\n\
             [[route]]\nname = \"open\"\nmatch = {{ path = \"/open\" }}\nto = \"up\"\n"
        ),
        &[],
    )
}

#[test]
fn a_preflight_is_answered_for_the_route_that_the_request_would_take() {
    // Before all other filters, by host, path and the method that is asked for; fields and body have not come yet.
    let gateway = gateway("\"nobody\", \"browser\"", "");
    for (path, method) in [("/chat", "POST"), ("/list", "GET"), ("/list", "HEAD")] {
        let answer = ask(&gateway, &format!("OPTIONS {path}"), &preflight("https://app.example", method));
        assert!(answer.starts_with("HTTP/1.1 204 "), "{path}: {answer}");
        assert_eq!(values(&answer, "access-control-allow-origin"), ["https://app.example"]);
        assert_eq!(values(&answer, "access-control-allow-methods"), ["GET, POST"]);
        assert_eq!(values(&answer, "access-control-allow-headers"), ["authorization, content-type"]);
        assert_eq!(values(&answer, "access-control-max-age"), ["600"]);
        assert_eq!(values(&answer, "vary"), ["origin"]);
        assert!(values(&answer, "access-control-allow-credentials").is_empty());
        assert!(values(&answer, "content-length").is_empty() && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    // Pages of others are told nothing.
    let answer = ask(&gateway, "OPTIONS /chat", &preflight("https://evil.example", "POST"));
    assert!(answer.starts_with("HTTP/1.1 204 ") && !answer.contains("access-control-"), "{answer}");
    // An OPTIONS like any other: another method, no preflight, a route without `cors`, tricks with the path.
    for (path, fields, status) in [
        ("/chat", preflight("https://app.example", "PUT"), "405"),
        ("/chat", ORIGIN.to_owned(), "405"),
        ("/nobody", preflight("https://app.example", "GET"), "403"),
        ("/open", preflight("https://app.example", "GET"), "200"),
        ("/none", preflight("https://app.example", "GET"), "404"),
        ("/a/../chat", preflight("https://app.example", "POST"), "400"),
    ] {
        let answer = ask(&gateway, &format!("OPTIONS {path}"), &fields);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {fields}: {answer}");
    }
    assert_eq!(gateway.stats()["routes"]["chat"]["requests"], 2);
}

#[test]
fn every_answer_says_whose_pages_may_read_it_in_the_place_of_what_the_endpoint_says() {
    let gateway = gateway("\"browser\"", "");
    let answer = ask(&gateway, "GET /list", ORIGIN);
    assert_eq!(values(&answer, "access-control-allow-origin"), ["https://app.example"]);
    assert_eq!(values(&answer, "access-control-expose-headers"), ["x-request-id"]);
    assert!(values(&answer, "access-control-allow-credentials").is_empty(), "{answer}");
    assert_eq!(values(&answer, "vary"), ["accept", "origin"]);
    assert_eq!(values(&answer, "allow"), ["theirs"]);
    // Others get the answer, and no page of theirs may read it.
    for fields in ["origin: https://evil.example\r\n", ""] {
        let answer = ask(&gateway, "GET /list", fields);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && !answer.to_lowercase().contains("access-control-"),
            "{answer}"
        );
        assert_eq!(values(&answer, "vary"), ["accept", "origin"]);
    }
    // Without a `cors` the endpoint's own stays.
    assert_eq!(values(&ask(&gateway, "GET /open", ORIGIN), "access-control-allow-origin"), ["*"]);
}

#[test]
fn a_page_may_read_refusals_too() {
    let gateway = gateway("\"browser\", \"nobody\"", "");
    let answer = ask(&gateway, "GET /list", "origin: https://a.example.org\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(values(&answer, "access-control-allow-origin"), ["https://a.example.org"]);
    assert_eq!(values(&answer, "access-control-expose-headers"), ["x-request-id"]);
}

#[test]
fn that_of_the_listener_answers_for_every_path() {
    let gateway = gateway("", "\"nobody\", \"browser\"");
    for path in ["/chat", "/none", "*"] {
        let answer = ask(&gateway, &format!("OPTIONS {path}"), &preflight("https://app.example", "DELETE"));
        assert!(answer.starts_with("HTTP/1.1 204 "), "{path}: {answer}");
        assert_eq!(values(&answer, "access-control-allow-origin"), ["https://app.example"]);
    }
    let answer = ask(&gateway, "GET /none", ORIGIN);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(values(&answer, "access-control-allow-origin"), ["https://app.example"]);
}
