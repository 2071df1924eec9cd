//! Fields that operators set, add, rename and remove, in requests and in answers.

use crate::keys::{KeysFile, entry};
use crate::support::{Gateway, Upstream};

/// The lines of a head that begin with one of these names, in order.
fn lines<'m>(message: &'m str, names: &[&str]) -> Vec<&'m str> {
    let head = message.split("\r\n\r\n").next().unwrap();
    let is_named = |line: &&str| {
        line.split_once(':')
            .is_some_and(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
    };
    head.lines().skip(1).filter(is_named).collect()
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nServer: theirs\r\nx-old: 1\r\nX-New: 2\r\nx-a: 3\r\nset-cookie: a\r\nset-cookie: b\r\n\r\nok";

#[test]
fn fields_are_changed_on_both_sides_and_only_there() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let keys = KeysFile::new(&entry("team-ä", ""));
    let gateway = Gateway::start_with(
        &format!(
            "{}[filter.first]\nkind = \"headers\"\nrequest = {{ set = {{ x-who = \"{{key}}|{{client}}|{{route}}|{{request_id}}\", x-none = \"{{key}}\" }}, \
             add = {{ x-a = \"ours\" }} }}\nresponse = {{ set = {{ x-a = \"{{route}}\" }} }}\n\
             [filter.second]\nkind = \"headers\"\nrequest = {{ rename = {{ x-old = \"x-new\", x-a = \"x-b\" }}, remove = [\"Cookie\", \"authorization\"] }}\n\
             response = {{ rename = {{ x-old = \"x-new\" }}, remove = [\"server\", \"set-cookie\"], add = {{ x-by = \"{{request_id}}\" }} }}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"first\"]\n[cluster.up]\nendpoints = [{url:?}]\nauth = {{ bearer = \"theirs\" }}\n\
             [[route]]\nname = \"all\"\nmatch = {{ path = \"/all\" }}\nto = \"up\"\nfilters = [\"second\"]\n\
             [[route]]\nname = \"own\"\nmatch = {{ path = \"/own\" }}\nrespond = {{ body = \"own\" }}\nfilters = [\"second\"]\n\
             [[route]]\nname = \"keyed\"\nmatch = {{ path = \"/keyed\" }}\nto = \"up\"\nfilters = [\"keys\"]\n",
            keys.filter(),
        ),
        &[],
    );
    let mut client = gateway.connect();
    client.send(
        "GET /all HTTP/1.1\r\nhost: x\r\nX-OLD: 1\r\nx-new: 2\r\nX-A: 3\r\nx-who: me\r\nx_who: me\r\nx_new: me\r\nx-none: me\r\ncookie: c\r\n\
         authorization: Bearer mine\r\naccept: a\r\n\r\n",
    );
    let mut up = upstream.accept();
    let request = up.read_message();
    up.send(ANSWER);
    let answer = client.read_message();
    let id = lines(&answer, &["x-request-id"])[0].split_once(": ").unwrap().1.to_owned();
    assert_eq!(
        lines(
            &request,
            &[
                "x-old",
                "x-new",
                "x-a",
                "x-b",
                "x-who",
                "x_who",
                "x_new",
                "x-none",
                "cookie",
                "authorization",
                "accept"
            ]
        ),
        [
            "x-new: 1".to_owned(),
            "x-b: 3".to_owned(),
            "accept: a".to_owned(),
            format!("x-who: |127.0.0.1|all|{id}"),
            "x-b: ours".to_owned(),
            "authorization: Bearer theirs".to_owned(),
        ]
    );
    assert_eq!(
        lines(&answer, &["server", "x-old", "x-new", "x-a", "x-by", "set-cookie"]),
        ["x-new: 1".to_owned(), "x-a: all".to_owned(), format!("x-by: {id}")]
    );
    assert!(answer.ends_with("\r\n\r\nok") && lines(&answer, &["content-length"]) == ["content-length: 2"]);
    // Whose it is.
    client.send("GET /keyed HTTP/1.1\r\nhost: x\r\nx-api-key: sk-team-ä\r\n\r\n");
    let request = up.read_message();
    assert!(lines(&request, &["x-who"])[0].starts_with("x-who: team-%C3%A4|127.0.0.1|keyed|"), "{request}");
    assert_eq!(lines(&request, &["x-none", "x-api-key"]), ["x-none: team-%C3%A4"]);
    up.send(ANSWER);
    client.read_message();
    // Answers of our own say what is set and added; their own words stay.
    client.send("GET /own HTTP/1.1\r\nhost: x\r\n\r\n");
    let own = client.read_message();
    assert!(own.starts_with("HTTP/1.1 200 ") && own.ends_with("own"), "{own}");
    assert_eq!(lines(&own, &["x-a"]), ["x-a: own"]);
    assert_eq!(lines(&own, &["x-by"]).len(), 1);
    // A refusal that no route has is under what the listener has answers say.
    client.send("GET /none HTTP/1.1\r\nhost: x\r\n\r\n");
    let none = client.read_message();
    assert!(none.starts_with("HTTP/1.1 404 ") && lines(&none, &["x-a", "x-by"]).is_empty(), "{none}");
}
