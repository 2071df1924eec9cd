//! Endpoints and services at https://: trusted or not, whole or cut, with a certificate of our own or without.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Gateway, fresh_path};

/// One who issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for that name, and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Its own certificate as a file.
    fn file(&self) -> PathBuf {
        file("ca.pem", &self.pem)
    }
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = fresh_path(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// What a server asks of those who come, and how it speaks.
#[derive(Default)]
struct Ways<'a> {
    /// Those must show a certificate that it issued.
    clients_of: Option<&'a Authority>,
    speaks_12_only: bool,
}

/// An endpoint with TLS, and how many connections it took.
struct Secured {
    url: String,
    connections: Arc<AtomicUsize>,
}

fn secured(authority: &Authority, name: &str, ways: &Ways<'_>) -> Secured {
    let (certificate, key) = authority.issue(name);
    let versions: &[_] = if ways.speaks_12_only { &[&TLS12] } else { &[&TLS12, &TLS13] };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match ways.clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let provider = Arc::new(default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || serve(StreamOwned::new(session, socket)));
        }
    });
    Secured { url, connections }
}

/// Answers one request after the other, as its path says, until somebody has enough.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Option<()> {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 65_536];
        let end = loop {
            if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
            text.extend_from_slice(&piece[..count]);
        };
        let head = String::from_utf8(text[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = end + length.map_or(0, |length| length.parse().unwrap());
        while text.len() < whole {
            let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
            text.extend_from_slice(&piece[..count]);
        }
        let body: Vec<u8> = text.drain(..whole).skip(end).collect();
        let ok = "HTTP/1.1 200 OK\r\n";
        match head.split(' ').nth(1)? {
            "/ended" | "/cut" => {
                stream.write_all(format!("{ok}\r\nall there is").as_bytes()).ok()?;
                if head.contains("/ended") {
                    stream.conn.send_close_notify();
                }
                return stream.flush().ok();
            }
            "/events" => {
                stream.write_all(format!("{ok}transfer-encoding: chunked\r\n\r\n").as_bytes()).ok()?;
                for event in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
                    thread::sleep(Duration::from_millis(30));
                    stream.write_all(event.as_bytes()).ok()?;
                }
            }
            "/last" => {
                stream.write_all(format!("{ok}content-length: 2\r\n\r\nok").as_bytes()).ok()?;
                stream.conn.send_close_notify();
                return stream.flush().ok();
            }
            "/v1/models" => {
                let list = "{\"data\":[{\"id\":\"a\"}]}";
                stream
                    .write_all(format!("{ok}content-length: {}\r\n\r\n{list}", list.len()).as_bytes())
                    .ok()?;
            }
            "/deny" => stream.write_all(b"HTTP/1.1 403 X\r\ncontent-length: 2\r\n\r\nno").ok()?,
            "/head" => {
                stream
                    .write_all(format!("{ok}content-length: {}\r\n\r\n{head}", head.len()).as_bytes())
                    .ok()?;
            }
            _ => {
                stream.write_all(format!("{ok}content-length: {}\r\n\r\n", body.len()).as_bytes()).ok()?;
                stream.write_all(&body).ok()?;
            }
        }
        stream.flush().ok()?;
    }
}

fn cluster(endpoints: &[&str], tls: &str) -> String {
    format!("[cluster.up]\nendpoints = {endpoints:?}\n{tls}[[route]]\nname = \"all\"\nto = \"up\"\n")
}

fn trusting(authority: &Authority) -> String {
    format!("tls = {{ ca = {:?} }}\n", authority.file())
}

fn get(gateway: &Gateway, path: &str) -> String {
    gateway.exchange(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

#[test]
fn bytes_pass_both_ways_as_they_are_and_connections_are_used_again() {
    let authority = Authority::new();
    for speaks_12_only in [false, true] {
        let endpoint = secured(&authority, "127.0.0.1", &Ways { speaks_12_only, ..Ways::default() });
        let gateway = Gateway::start_with(
            &cluster(&[&endpoint.url], &trusting(&authority)),
            &["--listen", "127.0.0.1:0", "--lanes", "1"],
        );
        let mut client = gateway.connect();
        for size in [0, 1, 16_384, 100_000, 5_000_000] {
            let body: Vec<u8> = (0..size).map(|place| b'a' + (place % 23) as u8).collect();
            let (head, sent) =
                (format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"), body.clone());
            let mut writing = client.stream.try_clone().unwrap();
            let sending = thread::spawn(move || {
                writing.write_all(head.as_bytes()).unwrap();
                writing.write_all(&sent).unwrap();
            });
            let answer = client.read_until("\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(client.read_exactly(size) == body, "{size} bytes came back as others");
            sending.join().unwrap();
        }
        client.send("GET /events HTTP/1.1\r\nhost: x\r\n\r\n");
        client.read_until("3\r\none\r\n");
        client.read_until("3\r\ntwo\r\n");
        client.read_until("0\r\n\r\n");
        assert_eq!(endpoint.connections.load(Ordering::SeqCst), 1, "they were not used again");
        let told = get(&gateway, "/head");
        assert!(told.contains(&format!("host: {}\r\n", &endpoint.url[8..])), "{told}");
        // One that was closed while it lay idle is made anew, without a word to the client.
        assert!(get(&gateway, "/last").ends_with("ok"));
        assert!(get(&gateway, "/last").ends_with("ok"));
    }
}

#[test]
fn an_answer_whose_end_nobody_said_looks_broken() {
    let authority = Authority::new();
    let endpoint = secured(&authority, "127.0.0.1", &Ways::default());
    let gateway = Gateway::start(&cluster(&[&endpoint.url], &trusting(&authority)));
    let ended = get(&gateway, "/ended");
    assert!(ended.contains("all there is") && ended.ends_with("0\r\n\r\n"), "{ended}");
    let mut client = gateway.connect();
    client.send("GET /cut HTTP/1.1\r\nhost: x\r\n\r\n");
    let (cut, _) = client.read_to_any_end();
    assert!(cut.contains("all there is") && !cut.contains("0\r\n\r\n"), "it looks whole: {cut}");
}

#[test]
fn who_is_not_trusted_gets_no_byte_and_it_is_told_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    // It takes a handshake for nonsense, as servers without TLS do.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let spoken_plainly = format!("https://{}", plain.local_addr().unwrap());
    thread::spawn(move || {
        for mut socket in plain.incoming().flatten() {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    let wrong_name = secured(&authority, "vllm.example", &Ways::default());
    let stranger = secured(&other, "127.0.0.1", &Ways::default());
    for url in [&wrong_name.url, &stranger.url, &spoken_plainly] {
        let mut gateway = Gateway::start(&cluster(&[url], &trusting(&authority)));
        let answer = get(&gateway, "/head");
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("\"upstream_connect\""), "{answer}");
        assert!(answer.contains("proxy-status: corelane; error=tls_protocol_error\r\n"), "{answer}");
        assert!(answer.contains("x-should-retry: true\r\n"), "{answer}");
        assert_eq!(gateway.next_line(), format!("no trusted connection to {url}"));
        assert!(gateway.next_line().trim_start().starts_with("why: "));
        // Another one that is trusted serves meanwhile.
        let good = secured(&authority, "127.0.0.1", &Ways::default());
        let gateway = Gateway::start(&cluster(&[url, &good.url], &trusting(&authority)));
        for _ in 0..4 {
            assert!(get(&gateway, "/head").starts_with("HTTP/1.1 200 "));
        }
    }
    // It is the name that is written that counts, where one is.
    let named = format!("tls = {{ ca = {:?}, server_name = \"vllm.example\" }}\n", authority.file());
    let gateway = Gateway::start(&cluster(&[&wrong_name.url], &named));
    assert!(get(&gateway, "/head").starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_asks_for_a_certificate_is_shown_ours() {
    let authority = Authority::new();
    let ways = Ways { clients_of: Some(&authority), ..Ways::default() };
    let endpoint = secured(&authority, "127.0.0.1", &ways);
    let (certificate, key) = authority.issue("gateway");
    let own = format!(
        "tls = {{ ca = {:?}, cert = {:?}, key = \"file:{}\" }}\n",
        authority.file(),
        file("cert.pem", &certificate),
        file("key.pem", &key).display()
    );
    let gateway = Gateway::start(&cluster(&[&endpoint.url], &own));
    assert!(get(&gateway, "/head").starts_with("HTTP/1.1 200 "));
    let (_, shown) = gateway.admin("GET", "/config");
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    let gateway = Gateway::start(&cluster(&[&endpoint.url], &trusting(&authority)));
    assert!(get(&gateway, "/head").starts_with("HTTP/1.1 502 "));
}

#[test]
fn probes_speak_tls_too_and_a_new_authority_is_followed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let endpoint = secured(&authority, "127.0.0.1", &Ways::default());
    let trusted = other.file();
    let tls = format!(
        "tls = {{ ca = {trusted:?} }}\nhealth = {{ path = \"/head\", interval = \"100ms\", unhealthy_after = 1, healthy_after = 1 }}\n"
    );
    let gateway = Gateway::start(&cluster(&[&endpoint.url], &tls));
    gateway.until("it is out", |stats| stats["endpoints"]["up"][&endpoint.url]["state"] != "up");
    std::fs::write(&trusted, &authority.pem).unwrap();
    gateway.until("it is back", |stats| stats["endpoints"]["up"][&endpoint.url]["state"] == "up");
    assert!(get(&gateway, "/head").starts_with("HTTP/1.1 200 "));
}

#[test]
fn lists_of_models_are_read_over_tls_and_believed_of_nobody_else() {
    let authority = Authority::new();
    let endpoint = secured(&authority, "127.0.0.1", &Ways::default());
    let stranger = secured(&Authority::new(), "127.0.0.1", &Ways::default());
    let keys = format!("{}discover = \"models\"\n", trusting(&authority));
    let gateway = Gateway::start(&cluster(&[&endpoint.url, &stranger.url], &keys));
    let post = |model: &str| {
        let body = format!("{{\"model\":{model:?}}}");
        gateway.exchange(&format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let begun = std::time::Instant::now();
    while !post("a").starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < crate::support::PATIENCE);
    }
    for _ in 0..10 {
        assert!(post("a").starts_with("HTTP/1.1 200 "), "the one that is not trusted lists nothing");
    }
    assert!(post("b").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_service_at_https_is_asked_if_the_machine_trusts_it() {
    let authority = Authority::new();
    let (service, stranger) = (
        secured(&authority, "127.0.0.1", &Ways::default()),
        secured(&Authority::new(), "127.0.0.1", &Ways::default()),
    );
    for (url, path, status) in
        [(&service.url, "/allow", 200), (&service.url, "/deny", 403), (&stranger.url, "/allow", 403)]
    {
        let gateway = Gateway::start_trusting(
            &authority.file(),
            &format!(
                "[filter.policy]\nkind = \"ask\"\nurl = \"{url}{path}\"\n[[route]]\nrespond = {{ body = \"in\" }}\nfilters = [\"policy\"]\n"
            ),
        );
        let answer = get(&gateway, "/");
        assert_eq!(answer[9..12].parse(), Ok(status), "{answer}");
        assert_eq!(answer.contains("\r\n\r\nno"), path == "/deny", "{answer}");
    }
}
