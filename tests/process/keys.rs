//! API keys: who passes, what becomes of the credential, and what a change of the file does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use corelane::base::digest::Digest;
use serde_json::Value;

use crate::support::{After, Gateway, Upstream, fresh_path};

/// One entry of a keys file, for the key `sk-NAME`.
pub fn entry(name: &str, more: &str) -> String {
    let digest = Digest::of(format!("sk-{name}").as_bytes()).text();
    format!("[[key]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{more}\n")
}

/// A keys file that goes with the test.
pub struct KeysFile(PathBuf);

impl KeysFile {
    pub fn new(text: &str) -> Self {
        let path = fresh_path("keys.toml");
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    /// The filter that names it.
    pub fn filter(&self) -> String {
        format!("[filter.keys]\nkind = \"keys\"\nfile = {:?}\n", self.0.to_str().unwrap())
    }
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An endpoint that answers with what it was sent.
fn mirror() -> String {
    Upstream::start().play(|peer, request| {
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
        After::GoOn
    })
}

/// Status and text of the answer to a POST on `path` with these fields.
fn ask(gateway: &Gateway, path: &str, fields: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n{fields}\r\nhi"));
    let text = client.read_message();
    (text[9..12].parse().unwrap(), text)
}

fn key(name: &str) -> String {
    format!("authorization: Bearer sk-{name}\r\n")
}

#[test]
fn a_key_lets_its_holder_pass_and_never_travels_upstream() {
    let file = KeysFile::new(&(entry("a", "class = \"bulk\"") + &entry("b", "routes = [\"own\"]")));
    let (log, up) = (fresh_path("keys.log"), mirror());
    let config = format!(
        "{}[server]\nlanes = 1\n[cluster.up]\nendpoints = [{up:?}]\n[cluster.own]\nendpoints = [{up:?}]\nauth = {{ bearer = \"for-the-engine\" }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"own\"\nmatch = {{ path = \"/own\" }}\nto = \"own\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"open\"\nmatch = {{ path = \"/open\" }}\nto = \"up\"\n\
         [[route]]\nname = \"auth\"\nmatch = {{ path = \"/auth\" }}\nto = \"own\"\n\
         [observe]\naccess_log = {{ to = {log:?} }}\n",
        file.filter()
    );
    let gateway = Gateway::start(&config);
    let others = "x-api-key: sk-a\r\nApi-Key: sk-a\r\nx_api_key: sk-a\r\nAuthorization_: x\r\n";
    let (status, text) = ask(&gateway, "/x", &(key("a") + others));
    assert_eq!(status, 200, "{text}");
    let sent = text.to_lowercase();
    assert!(!sent.contains("sk-a") && !sent.contains("\r\nauthorization:"), "{text}");
    assert!(sent.contains("\r\nauthorization_: x"), "{text}");
    // The cluster's own goes in its place, once, whether or not a filter asked for a key.
    for (path, fields) in
        [("/own", key("b")), ("/auth", key("b")), ("/auth", "x-api-key: sk-b\r\n".to_owned())]
    {
        let (status, text) = ask(&gateway, path, &fields);
        assert_eq!(
            (status, text.matches("authorization: Bearer for-the-engine\r\n").count()),
            (200, 1),
            "{text}"
        );
        assert!(!text.contains("sk-b"), "{text}");
    }
    // Where nobody asks for a key, the credential is the endpoint's business.
    let (_, text) = ask(&gateway, "/open", "authorization: Bearer theirs\r\nx-api-key: theirs\r\n");
    assert!(text.contains("authorization: Bearer theirs\r\nx-api-key: theirs\r\n"), "{text}");
    let (status, text) = ask(&gateway, "/x", &key("b"));
    assert!(status == 403 && text.contains("\"code\":\"forbidden\""), "{text}");
    assert_eq!(ask(&gateway, "/x", &key("c")).0, 401);
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    gateway.until("all are logged", |_| lines().lines().count() == 7);
    let line = |at: usize| serde_json::from_str::<Value>(lines().lines().nth(at).unwrap()).unwrap();
    assert_eq!((&line(0)["key"], &line(0)["class"]), (&"a".into(), &"bulk".into()));
    assert_eq!((&line(1)["key"], &line(1)["class"]), (&"b".into(), &Value::Null));
    // Who was refused for its route is known, who showed no key that is known is not.
    assert_eq!((&line(5)["key"], &line(6)["key"]), (&"b".into(), &Value::Null));
    assert!(!lines().contains("sk-"));
    let _ = std::fs::remove_file(&log);
}

#[test]
fn who_shows_no_key_is_told_so_before_anything_else() {
    let file = KeysFile::new(&entry("a", ""));
    let config = format!(
        "{}[[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"keys\"]\n[cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nmatch = {{ path = \"/x\", method = \"POST\", body = {{ model = \"m\" }} }}\nto = \"up\"\n",
        file.filter(),
        mirror()
    );
    let gateway = Gateway::start_with(&config, &[]);
    for request in ["POST /x", "POST /none", "GET /x", "CONNECT x:1", "OPTIONS *"] {
        let mut client = gateway.connect();
        client.send(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let text = client.read_message();
        assert!(text.starts_with("HTTP/1.1 401 "), "{request}: {text}");
        assert!(text.contains("\r\nwww-authenticate: Bearer\r\n"), "{text}");
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        let error = &body["error"];
        assert_eq!(
            (&error["type"], &error["code"]),
            (&"authentication_error".into(), &"unauthorized".into())
        );
    }
    // Before any byte of a body is awaited, also where the body decides the route.
    let mut client = gateway.connect();
    client.send("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n");
    assert!(client.read_message().starts_with("HTTP/1.1 401 "));
    // With it, the route is what counts.
    assert_eq!(ask(&gateway, "/none", &key("a")).0, 404);
    let mut client = gateway.connect();
    client.send(format!(
        "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n{}\r\n{{\"model\":\"m\"}}",
        key("a")
    ));
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_change_of_the_file_is_in_force_within_a_second_and_a_broken_one_keeps_the_keys() {
    let file = KeysFile::new(&entry("a", ""));
    let config = format!("{}[[route]]\nrespond = {{ body = \"in\" }}\nfilters = [\"keys\"]\n", file.filter());
    let mut gateway = Gateway::start(&config);
    let status = |gateway: &Gateway, name: &str| ask(gateway, "/", &key(name)).0;
    assert_eq!((status(&gateway, "a"), status(&gateway, "b")), (200, 401));
    // What else was written meanwhile is not in force with it.
    std::fs::write(&gateway.config, config.replace("\"in\"", "\"out\"")).unwrap();
    let changed = |gateway: &mut Gateway, text: &str| {
        file.write(text);
        let since = Instant::now();
        let line = loop {
            let line = gateway.next_line();
            if line.starts_with("reloaded generation=") || line.starts_with("a file changed") {
                break line;
            }
        };
        // With room for a busy machine; by itself it takes half of that.
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        line
    };
    let line = changed(&mut gateway, &entry("b", ""));
    assert_eq!(line, "reloaded generation=2: a file changed that the configuration names");
    assert_eq!((status(&gateway, "a"), status(&gateway, "b")), (401, 200));
    assert!(ask(&gateway, "/", &key("b")).1.ends_with("in"));
    // Both names, one digest: nobody knows whose it is.
    let broken = entry("b", "") + &entry("b", "").replace("\"b\"", "\"c\"");
    assert!(changed(&mut gateway, &broken).ends_with("is not in force: what stood in it before stays so"));
    assert_eq!(status(&gateway, "b"), 200);
    // A reload tells the same, and changes nothing either.
    let (refused, problems) = gateway.admin("POST", "/reload");
    assert!(refused == 422 && problems.contains("this digest is that of the key"), "{problems}");
    std::fs::remove_file(&file.0).unwrap();
    while !gateway.next_line().contains("`file` cannot be read") {}
    while !gateway.next_line().starts_with("a file changed") {}
    assert_eq!(status(&gateway, "b"), 200);
    assert!(changed(&mut gateway, &(entry("a", "") + &entry("b", ""))).starts_with("reloaded generation=3"));
    assert_eq!((status(&gateway, "a"), status(&gateway, "b")), (200, 200));
    // One that is moved into its place counts too, though it says that it is older and is as large.
    let (other, text) = (fresh_path("other-keys.toml"), entry("a", "") + &entry("c", ""));
    std::fs::write(&other, text).unwrap();
    let old = std::fs::File::options().write(true).open(&other).unwrap();
    old.set_modified(std::fs::metadata(&file.0).unwrap().modified().unwrap()).unwrap();
    std::fs::rename(&other, &file.0).unwrap();
    while !gateway.next_line().starts_with("reloaded generation=4") {}
    assert_eq!((status(&gateway, "b"), status(&gateway, "c")), (401, 200));
    // And the rest once it is asked for.
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert!(ask(&gateway, "/", &key("c")).1.ends_with("out"));
}

#[test]
fn a_key_may_be_changed_without_a_gap_and_ends_when_it_says() {
    let digest = |key: &str| Digest::of(key.as_bytes()).text();
    let both =
        format!("[[key]]\nname = \"a\"\nsha256 = [\"{}\", \"{}\"]\n", digest("sk-old"), digest("sk-new"));
    let ended = entry("ended", "expires = 2020-01-01T00:00:00Z");
    let file = KeysFile::new(&(both + &ended + &entry("later", "expires = \"2099-01-01T00:00:00+02:00\"")));
    let gateway =
        Gateway::start(&format!("{}[[route]]\nrespond = {{}}\nfilters = [\"keys\"]\n", file.filter()));
    for (name, expected) in [("old", 200), ("new", 200), ("ended", 401), ("later", 200), ("", 401)] {
        assert_eq!(ask(&gateway, "/", &key(name)).0, expected, "{name}");
    }
}

#[test]
fn refused_credentials_are_told_at_a_bounded_rate_and_never_shown() {
    let file = KeysFile::new(&entry("a", "routes = []"));
    let config = format!("{}[[route]]\nname = \"in\"\nrespond = {{}}\nfilters = [\"keys\"]\n", file.filter());
    let mut gateway = Gateway::start(&config);
    let mut client = gateway.connect();
    let refused = 200;
    for at in 0..refused {
        let fields = if at == 0 { key("a") } else { key("guess-of-mine") };
        client.send(format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
        client.read_message();
    }
    let (mut told, mut suppressed, mut lines) = (0, 0, Vec::new());
    while told + suppressed < refused {
        let line: Value = serde_json::from_str(&gateway.next_line()).unwrap();
        assert_eq!(line["audit"], "refused");
        told += u64::from(line["code"].is_string());
        suppressed += line["suppressed"].as_u64().unwrap_or(0);
        lines.push(line);
    }
    assert_eq!(told + suppressed, refused);
    // The requests took a second or two.
    assert!((10..=60).contains(&told), "{told}");
    let first = &lines[0];
    assert_eq!((&first["code"], &first["filter"]), (&"forbidden".into(), &"keys".into()));
    assert_eq!((&first["client"], &first["route"]), (&"127.0.0.1".into(), &"in".into()));
    assert_eq!(first["request_id"].as_str().map(str::len), Some(32));
    assert_eq!(lines[1]["code"], "unauthorized");
    assert!(!lines.iter().any(|line| line.to_string().contains("sk-")), "{lines:?}");
}

fn corelane(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_corelane")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_new_key_comes_with_the_block_that_lets_it_pass() {
    let (code, printed, _) = corelane(&["key", "new", "team \"a\""]);
    let (key, block) = printed.split_once("\n\n").unwrap();
    assert_eq!((code, key.len(), &key[..3]), (0, 46, "sk-"));
    assert!(key[3..].bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{key}");
    assert!(!block.contains(key));
    let file = KeysFile::new(block);
    let gateway =
        Gateway::start(&format!("{}[[route]]\nrespond = {{}}\nfilters = [\"keys\"]\n", file.filter()));
    assert_eq!(ask(&gateway, "/", &format!("x-api-key: {key}\r\n")).0, 200);
    let (_, other, _) = corelane(&["key", "new", "b"]);
    assert_ne!(other.lines().next(), Some(key));
    assert_eq!(corelane(&["key", "new", ""]).0, 2);
}

/// A configuration in a folder of its own, beside its keys file.
fn folder(keys: &str, config: &str) -> PathBuf {
    let folder = fresh_path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("keys.toml"), keys).unwrap();
    std::fs::write(folder.join("gateway.toml"), config).unwrap();
    folder
}

fn path_in(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_file_is_looked_for_beside_the_configuration_and_its_problems_have_their_places() {
    let config = "[filter.keys]\nkind = \"keys\"\nfile = \"keys.toml\"\n[[route]]\nname = \"in\"\nrespond = {}\nfilters = [\"keys\"]\n";
    let folder = folder(&entry("a", "routes = [\"in\", \"elsewhere\"]"), config);
    let (code, out, told) = corelane(&["check", &path_in(&folder, "gateway.toml")]);
    assert_eq!(code, 0, "{told}");
    assert!(out.contains(": ok\n"), "{out}");
    let keys = path_in(&folder, "keys.toml");
    assert!(
        told.starts_with(&format!("warning: {keys}:4:17: the key \"a\" is for the route \"elsewhere\"")),
        "{told}"
    );
    std::fs::write(&keys, entry("a", "color = 1")).unwrap();
    let (code, _, told) = corelane(&["check", &path_in(&folder, "gateway.toml")]);
    assert!(code == 2 && told.starts_with(&format!("{keys}:4:1: unknown key `color` in `key`")), "{told}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn explain_tells_whose_key_passes_and_shows_no_secret() {
    let config = "[filter.keys]\nkind = \"keys\"\nfile = \"keys.toml\"\n[[route]]\nname = \"in\"\nto = \"up\"\nfilters = [\"keys\"]\n\
                  [cluster.up]\nendpoints = [\"http://127.0.0.1:1\"]\nauth = { bearer = \"for-the-engine\" }\n";
    let folder = folder(&entry("a", ""), config);
    let file = path_in(&folder, "gateway.toml");
    let (_, out, _) = corelane(&["explain", "--config", &file, "-H", "x-api-key: sk-a", "/v1"]);
    assert!(
        out.contains("filter    keys: pass\n") && out.contains("\r\nauthorization: Bearer ***\r\n"),
        "{out}"
    );
    assert!(!out.contains("sk-a") && !out.contains("for-the-engine"), "{out}");
    let (_, out, _) = corelane(&["explain", "--config", &file, "/v1"]);
    assert!(
        out.contains("filter    keys: refuse\n") && out.contains("answer    401 unauthorized\n"),
        "{out}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_key_has_its_own_limits_over_all_routes_and_filters() {
    let keys = |rpm: u64| {
        entry("a", &format!("rpm = {rpm}")) + &entry("b", "in_flight = 1\nrpm = 100") + &entry("c", "")
    };
    let file = KeysFile::new(&keys(3));
    let upstream = Upstream::start();
    let config = format!(
        "[server]\nlanes = 1\n{}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nname = \"slow\"\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"own\"\nmatch = {{ path = \"/own\" }}\nrespond = {{}}\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"more\"\nmatch = {{ path = \"/more\" }}\nrespond = {{}}\nfilters = [\"keys\"]\n",
        file.filter(),
        upstream.url()
    );
    let mut gateway = Gateway::start(&config);
    let got = ["/own", "/more", "/own", "/more"].map(|path| ask(&gateway, path, &key("a")));
    assert_eq!(got.each_ref().map(|(status, _)| *status), [200, 200, 200, 429]);
    assert!(got[0].1.contains("\r\nratelimit-limit: 3\r\nratelimit-remaining: 2\r\n"), "{}", got[0].1);
    assert!(
        got[3].1.contains("\"code\":\"rate_limited\"") && got[3].1.contains("\r\nretry-after: 20\r\n"),
        "{}",
        got[3].1
    );
    // That is no refused credential: what is told next is of another.
    assert_eq!(ask(&gateway, "/own", &key("nobody")).0, 401);
    assert!(gateway.next_line().contains("\"code\":\"unauthorized\""));
    // Others have limits of their own, or none.
    assert!(!ask(&gateway, "/own", &key("c")).1.contains("ratelimit-"));
    // What was used stays used through a change of the file, and through a reload.
    file.write(&(keys(3) + "\n"));
    while !gateway.next_line().starts_with("reloaded") {}
    assert_eq!(ask(&gateway, "/own", &key("a")).0, 429);
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(ask(&gateway, "/own", &key("a")).0, 429);

    // One at a time: the second is told at once, and passes once the first is over, or its client has left.
    let slow = |gateway: &Gateway| {
        let mut client = gateway.connect();
        client.send(format!("GET /slow HTTP/1.1\r\nhost: x\r\n{}\r\n", key("b")));
        client
    };
    let mut first = slow(&gateway);
    let mut endpoint = upstream.accept();
    endpoint.read_until("\r\n\r\n");
    let (status, text) = ask(&gateway, "/own", &key("b"));
    assert!(status == 429 && text.contains("\r\nretry-after: 1\r\n"), "{text}");
    endpoint.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert!(first.read_message().ends_with("ok"));
    gateway.until("the first is over", |stats| stats["routes"]["slow"]["in_flight"] == 0);
    assert_eq!(ask(&gateway, "/own", &key("b")).0, 200);
    let second = slow(&gateway);
    endpoint.read_until("\r\n\r\n");
    assert_eq!(ask(&gateway, "/own", &key("b")).0, 429);
    drop(second);
    gateway.until("the second has left", |stats| stats["routes"]["slow"]["client_closed"] == 1);
    assert_eq!(ask(&gateway, "/own", &key("b")).0, 200);
}
