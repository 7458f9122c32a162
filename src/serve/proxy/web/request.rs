//! What a browser asks for, and whether it may have it.

use std::net::IpAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::http::{self, HeaderMap, HeaderName, HeaderValue};

use crate::wire::Endpoint;

/// The head of a request, and what came behind it.
pub struct Asked {
    head: http::Request<()>,
    rest: Vec<u8>,
}

/// What it is for.
pub enum Wanted {
    /// The page.
    Page,
    /// A WebSocket: what to answer, and what came already.
    Socket { answer: String, rest: Vec<u8> },
    /// Nothing that there is, or that it may have: what to answer.
    Refusal(String),
}

/// Reads the head of a request; none if it is none, or too long.
pub async fn read(browser: &mut TcpStream) -> Option<Asked> {
    let mut octets = Vec::new();
    loop {
        if browser.read_buf(&mut octets).await.ok()? == 0 || octets.len() > LONGEST_HEAD {
            return None;
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(end) = parsed.parse(&octets).ok()? {
            let head = head(&parsed)?;
            return Some(Asked { head, rest: octets.split_off(end) });
        }
    }
}

fn head(parsed: &httparse::Request<'_, '_>) -> Option<http::Request<()>> {
    let mut head =
        http::Request::builder().method(parsed.method?).uri(parsed.path?).body(()).ok()?;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        head.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(head)
}

impl Asked {
    /// What it wants of the endpoint that it came to.
    pub fn wanted(self, on: Endpoint) -> Wanted {
        let Self { head, rest } = self;
        let host = text(head.headers(), "host").unwrap_or_default().to_owned();
        if !is_ours(&host, on) {
            return refused("421 Misdirected Request", "this is not served under that name");
        }
        match (head.method().as_str(), head.uri().path()) {
            ("GET", "/") => Wanted::Page,
            ("GET", "/peer") => {
                if text(head.headers(), "origin") != Some(&format!("http://{host}")) {
                    return refused("403 Forbidden", "this is for the page that is served here");
                }
                match create_response(&head) {
                    Ok(response) => Wanted::Socket { answer: written(&response), rest },
                    Err(_) => refused("400 Bad Request", "a WebSocket is wanted here"),
                }
            }
            ("GET", _) => refused("404 Not Found", "there is one page: /"),
            _ => refused("405 Method Not Allowed", "there is one page: /"),
        }
    }
}

/// Whether a request names this endpoint: by its address, or where it is on loopback as well, as
/// `localhost`.
fn is_ours(host: &str, on: Endpoint) -> bool {
    let port = on.port();
    let (name, named) = host.rsplit_once(':').unwrap_or((host, "80"));
    let is_name = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => on.ip() == address || on.ip().is_unspecified(),
        Err(_) => {
            let is_here = on.ip().is_loopback() || on.ip().is_unspecified();
            name.eq_ignore_ascii_case("localhost") && is_here
        }
    };
    is_name && named.parse() == Ok(port)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn written(response: &http::Response<()>) -> String {
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text + "\r\n"
}

fn refused(status: &str, why: &str) -> Wanted {
    Wanted::Refusal(format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{why}\n",
        why.len() + 1
    ))
}

const LONGEST_HEAD: usize = 8 * 1024;

const MOST_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_endpoint_is_known_by_its_address_and_as_localhost() {
        let ours = |host: &str, on: &str| is_ours(host, on.parse().expect("an endpoint"));
        for host in ["127.0.0.1:8080", "localhost:8080", "LocalHost:8080"] {
            assert!(ours(host, "127.0.0.1:8080"), "{host}");
        }
        assert!(ours("[::1]:8080", "[::1]:8080") && ours("127.0.0.1", "127.0.0.1:80"));
        for host in ["192.0.2.7:8080", "localhost:8080", "127.0.0.1:8080"] {
            assert!(ours(host, "0.0.0.0:8080"), "{host}");
        }
        for host in ["", "127.0.0.1", "127.0.0.1:81", "evil.example:8080", "127.0.0.2:8080"] {
            assert!(!ours(host, "127.0.0.1:8080"), "{host}");
        }
        assert!(!ours("localhost:8080", "192.0.2.7:8080"));
    }

    #[test]
    fn a_websocket_is_for_the_page_from_here_alone() {
        let asked = |origin: Option<&str>| {
            let mut head = http::Request::builder()
                .uri("/peer")
                .header("Host", "127.0.0.1:8080")
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
            if let Some(origin) = origin {
                head = head.header("Origin", origin);
            }
            let head = head.body(()).expect("a request");
            let asked = Asked { head, rest: Vec::new() };
            asked.wanted("127.0.0.1:8080".parse().expect("an endpoint"))
        };
        match asked(Some("http://127.0.0.1:8080")) {
            // RFC 6455 §1.3 has this very example.
            Wanted::Socket { answer, .. } => {
                assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
                assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
            }
            _ => panic!("it is for the page"),
        }
        for origin in
            [None, Some("http://evil.example"), Some("https://127.0.0.1:8080"), Some("null")]
        {
            assert!(matches!(asked(origin), Wanted::Refusal(_)), "{origin:?}");
        }
    }
}
