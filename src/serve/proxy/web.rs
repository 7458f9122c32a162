//! A page, and a WebSocket behind it, for browsers: they can do nothing but connect.
//!
//! Any page of any site may try to reach a server on loopback. So a WebSocket is opened for the page that
//! comes from here alone (RFC 6455 §10.2), and nothing is served under a name that somebody else's DNS
//! made ours.

mod request;
mod session;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::opener::Opener;
use crate::time::Duration;
use crate::wire::Endpoint;
use request::Wanted;

/// Gives a browser what it asks for.
pub async fn serve(mut browser: TcpStream, on: Endpoint, opener: &Arc<Opener>) {
    let Ok(Some(asked)) = timeout(GREETING, request::read(&mut browser)).await else { return };
    let (answer, rest) = match asked.wanted(on) {
        Wanted::Page => (page(), None),
        Wanted::Socket { answer, rest } => (answer, Some(rest)),
        Wanted::Refusal(answer) => (answer, None),
    };
    // Whoever has gone needs no answer.
    if browser.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    match rest {
        Some(rest) => {
            let socket =
                WebSocketStream::from_partially_read(browser, rest, Role::Server, None).await;
            session::run(socket, opener).await;
        }
        None => drop(browser.shutdown().await),
    }
}

fn page() -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{PAGE}",
        PAGE.len()
    )
}

const PAGE: &str = include_str!("web/page.html");

/// The page needs nothing from anywhere but itself and its WebSocket.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Browsers say at once what they want.
const GREETING: Duration = Duration::from_secs(10);
