//! Asks a running gateway's admin API: one request, one answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::base::address::Address;
use crate::config::url::listen_address;

/// Whoever asks is near, and so is the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The variable that has the token, where the gateway wants one.
const TOKEN: &str = "CORELANE_ADMIN_TOKEN";

/// An address as it stands in an argument.
pub(super) fn address(text: &str) -> Result<Address, String> {
    listen_address(text).map_err(|error| format!("{}; {}", error.why, error.fix))
}

/// Posts `body` to `target` of the admin API at `address`; the body of its answer.
///
/// # Errors
///
/// What is wrong, why, and what to do: nobody is there, or the answer is no 200.
pub(super) fn post(address: &Address, target: &str, body: &[u8]) -> Result<String, String> {
    asked(address, "POST", target, body)
}

/// What the admin API at `address` answers to a GET of `target`.
///
/// # Errors
///
/// As with [`post`].
pub(super) fn get(address: &Address, target: &str) -> Result<String, String> {
    asked(address, "GET", target, b"")
}

/// A text as a parameter of a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn asked(address: &Address, method: &str, target: &str, body: &[u8]) -> Result<String, String> {
    let failed = |why: std::io::Error| {
        format!(
            "the admin API at {address} does not answer\n  why: {why}\n  fix: name the address that the gateway printed as `admin` when it started"
        )
    };
    let token =
        std::env::var(TOKEN).map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}content-length: {}\r\n\r\n",
        body.len()
    );
    let message = [head.as_bytes(), body].concat();
    let answer = match address {
        Address::Tcp(address) => TcpStream::connect_timeout(address, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(&mut stream, &message)
        }),
        Address::Unix(path) => UnixStream::connect(path).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(&mut stream, &message)
        }),
    };
    let answer = answer.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some("401") => Err(format!(
            "the admin API at {address} wants a token\n  why: `server.admin_token` is set there\n  fix: set {TOKEN} to it"
        )),
        Some("404") if !body.starts_with("not found") => Err(format!(
            "the gateway at {address} knows no such thing\n  why: {}\n  fix: correct the name",
            body.trim()
        )),
        Some("404") => Err(format!(
            "the gateway at {address} does not know this command\n  why: it is older than this program, or no corelane\n  fix: use the program that it runs"
        )),
        status => Err(format!(
            "the admin API at {address} refuses: {}\n  why: {}\n  fix: see the gateway's log",
            status.unwrap_or("it speaks no HTTP"),
            body.trim()
        )),
    }
}

fn exchange(stream: &mut (impl Read + Write), message: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(message)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
