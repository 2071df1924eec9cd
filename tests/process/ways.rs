//! A hundred ways past keys, lists of models, guards and limits, by somebody who has a key for other things: none leads to an
//! endpoint.

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Upstream};

/// One way: what it tries, and the request.
struct Way {
    tries: &'static str,
    request: String,
}

/// A POST of a body, with its length and these further fields.
fn post(tries: &'static str, path: &str, fields: &str, body: &str) -> Way {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: api.local\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Way { tries, request }
}

const CHAT: &str = "/v1/chat/completions";
const MINE: &str = "x-api-key: sk-mine\r\n";
const JSON: &str = "content-type: application/json\r\n";

/// Ways past the keys: the secret key is "sk-secret", which the attacker does not have, and the admin's route is closed to
/// the key that they have.
fn past_keys() -> Vec<Way> {
    let good = r#"{"model":"llama-1"}"#;
    let with = |tries, fields: &str| post(tries, CHAT, &format!("{fields}{JSON}"), good);
    let to = |tries, path: &str| post(tries, path, &format!("{MINE}{JSON}"), good);
    vec![
        with("no key", ""),
        with("an empty key", "x-api-key:\r\n"),
        with("an empty bearer", "authorization: Bearer\r\n"),
        with("a bearer of blanks", "authorization: Bearer   \r\n"),
        with("another case", "x-api-key: SK-MINE\r\n"),
        with("a beginning", "x-api-key: sk-min\r\n"),
        with("more behind it", "x-api-key: sk-mine1\r\n"),
        with("a NUL escape behind it", "x-api-key: sk-mine%00\r\n"),
        with("an encoded key", "x-api-key: sk%2Dmine\r\n"),
        with("a quoted key", "x-api-key: \"sk-mine\"\r\n"),
        with("two keys in a list", "x-api-key: sk-mine, sk-secret\r\n"),
        with("two fields that differ", "x-api-key: sk-mine\r\nx-api-key: sk-other\r\n"),
        with("two names that differ", "x-api-key: sk-mine\r\nauthorization: Bearer sk-other\r\n"),
        with("two bearers", "authorization: Bearer sk-mine\r\nauthorization: Bearer sk-other\r\n"),
        with("another scheme", "authorization: Basic sk-mine\r\n"),
        with("no scheme", "authorization: sk-mine\r\n"),
        with("a scheme twice", "authorization: Bearer Bearer sk-mine\r\n"),
        with("an underscore", "x_api_key: sk-mine\r\n"),
        with("a proxy's field", "proxy-authorization: Bearer sk-mine\r\n"),
        with("a cookie", "cookie: x-api-key=sk-mine\r\n"),
        with("a forwarded address", "x-forwarded-for: 127.0.0.1\r\nx-real-ip: 127.0.0.1\r\n"),
        with("a nominated field", "connection: x-api-key\r\n"),
        with(
            "the digest itself",
            "x-api-key: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n",
        ),
        with("an ended key", "x-api-key: sk-ended\r\n"),
        with("a very long key", &format!("x-api-key: {}\r\n", "k".repeat(20_000))),
        with("a preflight's fields", "origin: https://x\r\naccess-control-request-method: POST\r\n"),
        post("a key in the query", &format!("{CHAT}?api_key=sk-mine&key=sk-mine"), JSON, good),
        post("a key in the body", CHAT, JSON, r#"{"model":"llama-1","api_key":"sk-mine"}"#),
        Way {
            tries: "a folded field",
            request: format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key:\r\n sk-mine\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
            ),
        },
        Way {
            tries: "a blank before the colon",
            request: format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key : sk-mine\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
            ),
        },
        Way {
            tries: "a second request inside the body",
            request: format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nPOST {CHAT} HTTP/1.1\r\nhost: x\r\n{MINE}content-length: 0\r\n\r\n"
            ),
        },
        to("a route that is not theirs", "/admin/x"),
        to("in another case of an escape", "/%61dmin/x"),
        to("in an escaped slash", "/admin%2Fx"),
        to("in two slashes", "//admin/x"),
        to("behind a dot segment", "/v1/../admin/x"),
        to("behind an encoded dot segment", "/v1/%2e%2e/admin/x"),
        to("behind a half encoded one", "/v1/.%2E/admin/x"),
        to("behind a parameter", "/v1/..;/admin/x"),
        to("with a parameter", "/admin;x/x"),
        to("with a backslash", "/v1\\..\\admin/x"),
        to("with a dot", "/./admin/x"),
        to("with a NUL", "/admin%00/x"),
        to("as a whole URL", "http://api.local/admin/x"),
    ]
}

/// Ways past the list of models, which has "llama-*": all want "gpt".
fn past_models() -> Vec<Way> {
    let json = |tries, body: &str| post(tries, CHAT, &format!("{MINE}{JSON}"), body);
    let form =
        |tries, kind: &str, body: &str| post(tries, CHAT, &format!("{MINE}content-type: {kind}\r\n"), body);
    let part = |name: &str, value: &str| {
        format!("--B\r\ncontent-disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    };
    vec![
        json("another model", r#"{"model":"gpt"}"#),
        json("none", r#"{"messages":[]}"#),
        json("an escape", r#"{"model":"\u0067pt"}"#),
        json("an escape in the name", r#"{"mode\u006c":"gpt"}"#),
        json("twice, the good one first", r#"{"model":"llama-1","model":"gpt"}"#),
        json("twice, the good one last", r#"{"model":"gpt","model":"llama-1"}"#),
        json("twice, one escaped", r#"{"model":"llama-1","mode\u006c":"gpt"}"#),
        json("another case beside it", r#"{"model":"llama-1","Model":"gpt"}"#),
        json("another case", r#"{"MODEL":"gpt"}"#),
        json("the long s", "{\"model\":\"llama-1\",\"mode\u{4c}\":\"gpt\"}"),
        json("a second document", r#"{"model":"llama-1"}{"model":"gpt"}"#),
        json("trailing bytes", r#"{"model":"llama-1"} x"#),
        json("a NUL behind", "{\"model\":\"llama-1\"}\0"),
        json("a list", r#"{"model":["llama-1","gpt"]}"#),
        json("an object", r#"{"model":{"llama-1":1}}"#),
        json("null", r#"{"model":null}"#),
        json("nested", r#"{"x":{"model":"llama-1"},"y":"gpt"}"#),
        json("a list of requests", r#"[{"model":"llama-1"}]"#),
        json("a comment", r#"{"model":"gpt"/*,"model":"llama-1"*/}"#),
        json("single quotes", "{'model':'llama-1'}"),
        json("blanks in the name", r#"{"model":" llama-1"}"#),
        json("a line end in the name", r#"{"model":"gpt\nllama-1"}"#),
        json("another case of the name", r#"{"model":"LLAMA-1"}"#),
        json("UTF-16", "\u{feff}{\0\"\0m\0"),
        post(
            "a compressed body",
            CHAT,
            &format!("{MINE}{JSON}content-encoding: gzip\r\n"),
            r#"{"model":"llama-1"}"#,
        ),
        post(
            "another charset",
            CHAT,
            &format!("{MINE}content-type: application/json; charset=utf-7\r\n"),
            r#"{"model":"llama-1"}"#,
        ),
        post("two types", CHAT, &format!("{MINE}{JSON}content-type: text/plain\r\n"), r#"{"model":"gpt"}"#),
        post(
            "a type that is none",
            CHAT,
            &format!("{MINE}content-type: text/plain\r\n"),
            r#"{"model":"gpt"}"#,
        ),
        post("octets", CHAT, &format!("{MINE}content-type: application/octet-stream\r\n"), "gpt"),
        post(
            "a document shorter than it says",
            CHAT,
            &format!("{MINE}inference-header-content-length: 99\r\n"),
            r#"{"model":"llama-1"}"#,
        ),
        post(
            "tensors in front of another model",
            CHAT,
            &format!("{MINE}inference-header-content-length: 15\r\n"),
            r#"{"model":"gpt"}{"model":"llama-1"}"#,
        ),
        post("no body", CHAT, MINE, ""),
        form("a form's field", "application/x-www-form-urlencoded", "model=gpt"),
        form("an encoded field", "application/x-www-form-urlencoded", "m%6fdel=gpt"),
        form("a field twice", "application/x-www-form-urlencoded", "model=llama-1&model=gpt"),
        form("a semicolon", "application/x-www-form-urlencoded", "model=llama-1;model=gpt"),
        form(
            "JSON in a form",
            "application/x-www-form-urlencoded",
            r#"{"model":"llama-1","x":"&model=gpt"}"#,
        ),
        form("a part", "multipart/form-data; boundary=B", &(part("model", "gpt") + "--B--\r\n")),
        form(
            "a part twice",
            "multipart/form-data; boundary=B",
            &(part("model", "llama-1") + &part("model", "gpt") + "--B--\r\n"),
        ),
        form("an unclosed form", "multipart/form-data; boundary=B", &part("model", "llama-1")),
        form(
            "two boundaries",
            "multipart/form-data; boundary=B; boundary=C",
            &(part("model", "llama-1") + "--B--\r\n"),
        ),
        post("a model of the path", "/models/gpt/infer", &format!("{MINE}{JSON}"), r#"{"model":"llama-1"}"#),
        post(
            "a model of the body behind that of the path",
            "/models/llama-1/infer",
            &format!("{MINE}{JSON}"),
            r#"{"model":"gpt"}"#,
        ),
        post("an escape in the path", "/models/g%70t/infer", &format!("{MINE}{JSON}"), "{}"),
        post("a parameter in the path", "/models/llama-1;x/infer", &format!("{MINE}{JSON}"), "{}"),
        Way {
            tries: "a GET with a body",
            request: format!(
                "GET {CHAT} HTTP/1.1\r\nhost: x\r\n{MINE}connection: close\r\ncontent-length: 15\r\n\r\n{{\"model\":\"gpt\"}}"
            ),
        },
        Way {
            tries: "a tunnel",
            request: format!(
                "GET /socket HTTP/1.1\r\nhost: x\r\n{MINE}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        },
    ]
}

/// Ways past a guard that denies "drop table" in what a model reads.
fn past_guard() -> Vec<Way> {
    let json = |tries, content: &str| {
        post(
            tries,
            "/guarded",
            &format!("{MINE}{JSON}"),
            &format!(r#"{{"model":"llama-1","messages":[{{"content":{content}}}]}}"#),
        )
    };
    let body = |tries, body: &str| post(tries, "/guarded", &format!("{MINE}{JSON}"), body);
    vec![
        json("plainly", r#""drop table""#),
        json("in another case", r#""DROP Table""#),
        json("escaped", r#""\u0064\u0072op \u0074able""#),
        json("with an escaped blank", r#""drop\u0020table""#),
        json("with a tab", r#""drop\ttable""#),
        json("with a line end", r#""drop\r\ntable""#),
        json("in a part", r#"[{"type":"text","text":"drop table"}]"#),
        json("deep in parts", r#"[[{"x":[{"y":"drop table"}]}]]"#),
        json("in a tool's result", r#"{"result":"drop table"}"#),
        json("as a data URL that is read", r#""data:text/plain,drop table""#),
        body(
            "in a second list",
            r#"{"model":"llama-1","messages":[{"content":"drop table"}],"messages":[{"content":"hi"}]}"#,
        ),
        body("in another case of the name", r#"{"model":"llama-1","Messages":[{"Content":"drop table"}]}"#),
        body("in an escaped name", r#"{"model":"llama-1","messages":[{"con\u0074ent":"drop table"}]}"#),
        body("in the prompt", r#"{"model":"llama-1","prompt":["drop table"]}"#),
        post(
            "in a form",
            "/guarded",
            &format!("{MINE}content-type: application/x-www-form-urlencoded\r\n"),
            "model=llama-1&prompt=drop+%74able",
        ),
        post(
            "in a part of a form",
            "/guarded",
            &format!("{MINE}content-type: multipart/form-data; boundary=B\r\n"),
            "--B\r\ncontent-disposition: form-data; name=model\r\n\r\nllama-1\r\n--B\r\ncontent-disposition: form-data; name=prompt\r\n\r\ndrop table\r\n--B--\r\n",
        ),
        post(
            "in a form that looks like JSON",
            "/guarded",
            &format!("{MINE}content-type: application/x-www-form-urlencoded\r\n"),
            r#"{"x":"&model=llama-1&prompt=drop%20table&y="}"#,
        ),
        body(
            "as data that is none",
            r#"{"model":"llama-1","prompt":[{"data":["data: drop table"]},{"url":"data:,drop table"}]}"#,
        ),
        post(
            "under another type",
            "/guarded",
            &format!("{MINE}content-type: text/plain\r\n"),
            r#"{"model":"llama-1","prompt":"drop table"}"#,
        ),
        post(
            "compressed",
            "/guarded",
            &format!("{MINE}{JSON}content-encoding: br\r\n"),
            r#"{"model":"llama-1"}"#,
        ),
    ]
}

#[test]
fn a_hundred_ways_lead_nowhere() {
    let keys = KeysFile::new(
        &(entry("mine", "models = [\"llama-*\"]\nroutes = [\"chat\", \"models\", \"socket\", \"guarded\"]")
            + &entry("other", "")
            + &entry("secret", "")
            + &entry("ended", "expires = 2001-01-01T00:00:00Z")),
    );
    let upstream = Upstream::start().play(|peer, request| {
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
        After::GoOn
    });
    let gateway = Gateway::start(&format!(
        "{}[filter.guard]\nkind = \"guard\"\ndeny = ['(?i)drop\\s+table']\nfields = [\"messages[*].content\", \"prompt\"]\n\
         [filter.limits]\nkind = \"rate-limit\"\nby = \"key\"\nrequests = \"1/day\"\n\
         [cluster.up]\nendpoints = [{upstream:?}]\n\
         [[route]]\nname = \"chat\"\nmatch = {{ path = \"{CHAT}\" }}\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"models\"\nmatch = {{ path = \"/models/{{model}}/infer\" }}\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"socket\"\nmatch = {{ path = \"/socket\" }}\nto = \"up\"\nupgrade = true\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"guarded\"\nmatch = {{ path = \"/guarded\" }}\nto = \"up\"\nfilters = [\"keys\", \"guard\"]\n\
         [[route]]\nname = \"limited\"\nmatch = {{ path = \"/limited\" }}\nto = \"up\"\nfilters = [\"keys\", \"limits\"]\n\
         [[route]]\nname = \"admin\"\nmatch = {{ path = \"/admin/*\" }}\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"rest\"\nto = \"up\"\nfilters = [\"keys\"]\n",
        keys.filter()
    ));
    let executed = || gateway.stats()["endpoints"]["up"][&upstream]["requests"].as_u64().unwrap();
    let good = |path: &str, body: &str| {
        let way = post("", path, &format!("{MINE}{JSON}"), body);
        assert!(gateway.exchange(&way.request).starts_with("HTTP/1.1 200 "), "{path}");
    };
    // What the key is for works, so that nothing here is refused for another reason.
    good(CHAT, r#"{"model":"llama-1"}"#);
    good("/models/llama-1/infer", "{}");
    good("/guarded", r#"{"model":"llama-1","messages":[{"content":"drop the table"}]}"#);
    let before = executed();
    let ways = [past_keys(), past_models(), past_guard()];
    let mut count = 0;
    for Way { tries, request } in ways.iter().flatten() {
        let mut client = gateway.connect();
        client.send(request);
        let answer = client.read_message();
        let status = answer.get(9..12).unwrap_or_default();
        assert!(status.starts_with('4') || status == "501", "{tries}: {answer}\n{request}");
        count += 1;
    }
    assert_eq!(executed(), before, "some way led to the endpoint");
    // A limit counts whoever has the key, however it is shown and whatever else is.
    let ways = [
        "x-api-key: sk-other\r\n",
        "authorization: Bearer sk-other\r\n",
        "AUTHORIZATION: bearer   sk-other\r\n",
        "api-key: sk-other\r\nx-forwarded-for: 10.0.0.9\r\n",
        "x-api-key: sk-other\r\napi-key: sk-other\r\n",
    ];
    let limited = |fields: &str| gateway.exchange(&post("", "/limited", fields, "").request);
    let passed = ways.iter().filter(|fields| limited(fields).starts_with("HTTP/1.1 200 ")).count();
    assert_eq!(passed, 1, "one request a day");
    for path in ["/limited?x=1", "/%6cimited", "/limited;x", "//limited"] {
        let answer = gateway.exchange(&post("", path, "x-api-key: sk-other\r\n", "").request);
        // What no route has goes to the rest, which has no limit; the limited route is not among it.
        let reached = answer.starts_with("HTTP/1.1 200 ") && answer.contains("POST /limited HTTP");
        assert!(!reached, "{path}: {answer}");
    }
    assert!(count + ways.len() + 4 >= 100, "{count}");
}
