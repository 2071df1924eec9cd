//! A service decides whether a request may pass.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use std::io::{Read, Write};

use crate::support::{After, Gateway, Upstream, fresh_path};

/// An endpoint that answers with what it was sent.
fn mirror() -> String {
    Upstream::start().play(|peer, request| {
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
        After::GoOn
    })
}

/// A service that answers as `x-as` says, and what it was asked last, and how often.
struct Service {
    url: String,
    last: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

fn service() -> Service {
    let (last, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (Arc::clone(&last), Arc::clone(&asked));
    let url = Upstream::start().play(move |peer, request| {
        count.fetch_add(1, Ordering::SeqCst);
        let says = request.lines().find_map(|line| line.strip_prefix("x-as: ").map(str::to_owned)).unwrap_or_default();
        *seen.lock().unwrap() = request;
        match &says[..] {
            "deny" => peer.send("HTTP/1.1 401 X\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-type: text/x\r\nset-cookie: a\r\ncontent-length: 5\r\n\r\nno go"),
            "move" => peer.send("HTTP/1.1 302 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
            "fail" => peer.send("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"),
            "long" => peer.send(format!("HTTP/1.1 403 X\r\ncontent-length: 70000\r\n\r\n{}", "x".repeat(70_000))),
            "cut" => {
                peer.send("HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nhalf");
                return After::Close;
            }
            "hang" => {
                let _ = peer.wait_for_end();
                return After::Close;
            }
            "close" => {
                peer.send("HTTP/1.1 200 X\r\nx-user: ada\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                return After::Close;
            }
            _ => peer.send("HTTP/1.1 204 X\r\nx-user: ada\r\nx-user: bob\r\nx-other: y\r\n\r\n"),
        }
        After::GoOn
    });
    Service { url, last, asked }
}

fn gateway(url: &str, more: &str, filters: &str) -> Gateway {
    Gateway::start(&format!(
        "[filter.policy]\nkind = \"ask\"\nurl = {url:?}\nheaders = [\"x-as\", \"authorization\"]\nadd = [\"x-user\"]\ntimeout = \"500ms\"\n{more}\
         {filters}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nname = \"all\"\nto = \"up\"\nfilters = [\"policy\"]\n",
        mirror()
    ))
}

/// Status and text of the answer to a POST with these fields.
fn ask(gateway: &Gateway, fields: &str, body: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST /v1/x?y=1 HTTP/1.1\r\nhost: api.local\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let text = client.read_message();
    (text[9..12].parse().unwrap(), text)
}

#[test]
fn what_the_service_says_becomes_of_a_request() {
    let service = service();
    let gateway = gateway(&format!("{}/allow?x=1", service.url), "", "");
    let (status, text) =
        ask(&gateway, "authorization: Bearer t\r\nX-User: eve\r\nx_user: eve\r\ncookie: c\r\n", "hi");
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("\r\nx-user: ada, bob\r\n") && !text.contains("eve") && !text.contains("x-other"),
        "{text}"
    );
    assert!(text.contains("\r\nauthorization: Bearer t\r\n"), "it is the endpoint's too: {text}");
    let asked = service.last.lock().unwrap().clone();
    let host = service.url.strip_prefix("http://").unwrap();
    assert_eq!(
        asked,
        format!(
            "GET /allow?x=1 HTTP/1.1\r\nhost: {host}\r\nx-forwarded-method: POST\r\nx-forwarded-uri: /v1/x?y=1\r\nx-forwarded-host: api.local\r\n\
             x-forwarded-for: 127.0.0.1\r\nauthorization: Bearer t\r\n\r\n"
        )
    );
    let (status, text) = ask(&gateway, "x-as: deny\r\n", "hi");
    assert_eq!(status, 401);
    assert!(
        text.contains("\r\nwww-authenticate: Basic realm=\"x\"\r\n")
            && text.contains("\r\ncontent-type: text/x\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nno go") && !text.contains("set-cookie"), "{text}");
    for says in ["move", "fail", "long", "cut", "hang"] {
        let (status, text) = ask(&gateway, &format!("x-as: {says}\r\n"), "hi");
        assert!(status == 403 && text.contains("\"code\":\"forbidden\""), "{says}: {text}");
    }
    // A connection that the service closed behind its answer is not asked again.
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "x-as: close\r\n", "hi").0, 200);
    }
    assert_eq!(
        gateway.stats()["endpoints"]["up"].as_object().unwrap().values().next().unwrap()["requests"],
        4
    );
}

#[test]
fn where_nobody_answers_a_request_passes_only_if_that_is_said() {
    for (on_error, status) in [("deny", 403), ("allow", 200)] {
        let gateway = gateway("http://127.0.0.1:1", &format!("on_error = \"{on_error}\"\n"), "");
        let (told, text) = ask(&gateway, "x-user: eve\r\n", "hi");
        assert_eq!(told, status, "{text}");
        assert!(!text.contains("eve"), "the client's own copy never travels: {text}");
    }
}

#[test]
fn answers_hold_for_a_while_for_the_same_question() {
    let service = service();
    let gateway = gateway(&service.url, "cache = \"1h\"\n", "");
    for (fields, status) in [
        ("authorization: a\r\n", 200),
        ("authorization: a\r\ncookie: other\r\n", 200),
        ("authorization: b\r\n", 200),
        ("x-as: deny\r\n", 401),
        ("x-as: deny\r\n", 401),
        ("x-as: fail\r\n", 403),
        ("x-as: fail\r\n", 403),
    ] {
        for lane in 0..2 {
            assert_eq!(ask(&gateway, fields, "hi").0, status, "{fields} {lane}");
        }
    }
    // Three questions that were answered, each at most once on each lane; errors are asked anew.
    let asked = service.asked.load(Ordering::SeqCst);
    assert!((3 + 4..=2 * 3 + 4).contains(&asked), "{asked}");
}

#[test]
fn the_service_may_be_told_of_the_body_and_stand_on_a_unix_socket() {
    let path = fresh_path("ask.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let last = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&last);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap();
            *seen.lock().unwrap() = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-user: ada\r\nconnection: close\r\n\r\nwhatever");
        }
    });
    let gateway = gateway(&format!("unix:{}:/allow", path.display()), "body = \"5B\"\n", "");
    for (body, told) in [("0123456789", "01234"), ("012", "012"), ("", "")] {
        let (status, text) = ask(&gateway, "content-type: text/x\r\n", body);
        assert!(status == 200 && text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
        let asked = last.lock().unwrap().clone();
        assert!(asked.starts_with("POST /allow HTTP/1.1\r\nhost: localhost\r\n"), "{asked}");
        let end = format!("content-type: text/x\r\ncontent-length: {}\r\n\r\n{told}", told.len());
        assert!(asked.ends_with(&end), "{asked}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_service_is_asked_where_it_stands_in_the_chain() {
    let service = service();
    let gateway = Gateway::start(&format!(
        "[filter.nobody]\nkind = \"ip\"\ndeny = [\"127.0.0.0/8\"]\n[filter.policy]\nkind = \"ask\"\nurl = {:?}\nheaders = [\"x-as\"]\n\
         [cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nmatch = {{ path = \"/before\" }}\nto = \"up\"\nfilters = [\"nobody\", \"policy\"]\n\
         [[route]]\nmatch = {{ path = \"/behind\" }}\nto = \"up\"\nfilters = [\"policy\", \"nobody\"]\n",
        service.url,
        mirror()
    ));
    for (path, fields, status, asked) in
        [("/before", "", 403, 0), ("/behind", "", 403, 1), ("/behind", "x-as: deny\r\n", 401, 2)]
    {
        let answer =
            gateway.exchange(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(service.asked.load(Ordering::SeqCst), asked, "{path} {fields}");
    }
}
