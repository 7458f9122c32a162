//! What the page and this program say to each other, and the connection that comes of it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::super::opener::{Opener, Reached, Unreached};
use crate::engine::{Fact, Punched};
use crate::punch::Code;
use crate::report;
use crate::tcp::{Side, State};

/// The first that the page says; all that follows is for the peer, as it is.
#[derive(Deserialize)]
struct Meet {
    code: String,
}

/// What the page is told. Binary messages are what the peer says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Told {
    /// What goes on.
    Progress { text: String },
    /// A socket of this end changed its state.
    State { from: State, to: State },
    /// The connection stands.
    Open {
        /// How it was opened, in words.
        text: String,
        /// The ladder, as SVG.
        ladder: String,
    },
    /// There is none, or no longer.
    Closed {
        /// Why.
        text: String,
    },
}

type Socket = WebSocketStream<TcpStream>;

/// Meets the peer whose code the page says, and carries what both say.
pub async fn run(mut socket: Socket, opener: &Arc<Opener>) {
    let why = match met(&mut socket, opener).await {
        Ok(peer) => carry(&mut socket, peer).await,
        Err(why) => why,
    };
    // Whoever has closed the page needs no reason.
    if tell(&mut socket, &Told::Closed { text: why }).await {
        let _ = socket.close(None).await;
    }
}

async fn met(socket: &mut Socket, opener: &Arc<Opener>) -> Result<TcpStream, String> {
    let first = socket.next().await.and_then(Result::ok);
    let said = first.as_ref().and_then(|message| message.to_text().ok()).unwrap_or_default();
    let Meet { code } = serde_json::from_str(said).map_err(|_| "a code is wanted".to_owned())?;
    let code: Code = code.parse()?;
    let (hears, mut news) = mpsc::unbounded_channel();
    let watch = move |fact: &Fact| {
        // The page may have gone meanwhile.
        if let Some(told) = told(fact) {
            let _ = hears.send(told);
        }
    };
    let mut opening = std::pin::pin!(opener.reach(&code, watch));
    let reached = loop {
        tokio::select! {
            Some(told) = news.recv() => { tell(socket, &told).await; }
            reached = &mut opening => break reached,
        }
    };
    while let Ok(told) = news.try_recv() {
        tell(socket, &told).await;
    }
    let Reached { peer, verdict } = reached.map_err(|why| in_words(why).to_owned())?;
    let text = report::opened_in_words(&verdict).to_owned();
    tell(socket, &Told::Open { text, ladder: report::punch_picture(&verdict) }).await;
    Ok(peer)
}

/// What a fact is to the page: changes of this end's own sockets, and what is progress. What the peer
/// reports afterwards is in the ladder.
fn told(fact: &Fact) -> Option<Told> {
    match fact {
        Fact::Punch { side, .. } if *side != JOINER => None,
        Fact::Punch { what: Punched::Changed(change), .. } => {
            Some(Told::State { from: change.from, to: change.to })
        }
        fact => report::progress(fact).map(|text| Told::Progress { text }),
    }
}

/// Both ways, until one ends: why.
async fn carry(socket: &mut Socket, peer: TcpStream) -> String {
    let (mut from_peer, mut to_peer) = peer.into_split();
    loop {
        tokio::select! {
            said = socket.next() => {
                let octets = match said {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(octets))) => octets,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        return "the page has ended it".to_owned();
                    }
                    Some(Ok(_)) => continue,
                };
                if to_peer.write_all(&octets).await.is_err() {
                    return "the connection broke".to_owned();
                }
            }
            heard = heard(&mut from_peer) => match heard {
                Some(octets) => {
                    // A page that has gone is found out by what it says next: nothing.
                    let _ = socket.send(Message::Binary(octets)).await;
                }
                None => return "the peer has ended it".to_owned(),
            }
        }
    }
}

async fn heard(peer: &mut OwnedReadHalf) -> Option<Bytes> {
    let mut octets = vec![0; LONGEST_PART];
    let read = peer.read(&mut octets).await.ok().filter(|read| *read > 0)?;
    octets.truncate(read);
    Some(octets.into())
}

async fn tell(socket: &mut Socket, told: &Told) -> bool {
    // Its keys are strings, and its numbers none: it cannot fail.
    let text = serde_json::to_string(told).unwrap_or_default();
    socket.send(Message::text(text)).await.is_ok()
}

const fn in_words(why: Unreached) -> &'static str {
    match why {
        Unreached::NobodyThere => "nobody waits under that code",
        Unreached::NotOpen => "the connection did not open",
        Unreached::NotTried => "it could not be tried: see what the proxy says",
    }
}

/// What an end is called that comes to another's room.
const JOINER: Side = Side::B;

const LONGEST_PART: usize = 64 * 1024;
