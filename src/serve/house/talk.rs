//! One connection to the rendezvous server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::engine::{End, Flow};
use crate::time::Duration;

/// What comes from outside.
pub enum Heard {
    /// Somebody has connected.
    Came(TcpStream),
    /// Somebody has said this.
    Said(Flow, Vec<u8>),
    /// A connection has ended.
    Ended(Flow, End),
}

/// Where all connections are talked to.
pub struct Table {
    /// One for each connection.
    pub tasks: JoinSet<()>,
    hub: mpsc::Sender<Heard>,
    tls: Option<TlsAcceptor>,
    /// How long the handshake of TLS may take.
    patience: Duration,
    /// Octets that clients have not taken yet.
    unread: Arc<AtomicUsize>,
}

/// The hub's end of a connection. Once it is gone, what was said is still sent, and then FIN.
pub struct Talk {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    unread: Arc<Unread>,
    task: AbortHandle,
}

/// The client's end.
struct Ear {
    flow: Flow,
    hub: mpsc::Sender<Heard>,
    lines: mpsc::UnboundedReceiver<Vec<u8>>,
    unread: Arc<Unread>,
}

impl Table {
    /// One that tells the hub what it hears.
    pub fn new(hub: mpsc::Sender<Heard>, tls: Option<TlsAcceptor>, patience: Duration) -> Self {
        Self { tasks: JoinSet::new(), hub, tls, patience, unread: Arc::default() }
    }

    /// Begins to talk.
    pub fn talk(&mut self, flow: Flow, stream: TcpStream) -> Talk {
        let (lines, from_hub) = mpsc::unbounded_channel();
        let in_total = self.unread.clone();
        let unread = Arc::new(Unread { own: AtomicUsize::new(0), in_total });
        let hub = self.hub.clone();
        let ear = Ear { flow, hub, lines: from_hub, unread: unread.clone() };
        let task = match self.tls.clone() {
            None => self.tasks.spawn(converse(stream, ear)),
            Some(tls) => self.tasks.spawn(encrypt(tls, self.patience, stream, ear)),
        };
        Talk { lines, unread, task }
    }

    /// Octets that clients have not taken yet.
    pub fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }
}

impl Talk {
    /// Says a line, unless more is unread already than may be.
    pub fn say(&self, line: Vec<u8>, most_unread: usize) -> bool {
        let fits = self.unread.own.load(Ordering::Relaxed) + line.len() <= most_unread;
        if fits {
            self.unread.add(line.len());
            // A connection that has just ended tells of it by itself.
            let _ = self.lines.send(line);
        }
        fits
    }

    /// Ends it at once, whatever is unsent.
    pub fn abandon(&self) {
        self.task.abort();
    }
}

/// Octets that were said and not taken.
struct Unread {
    own: AtomicUsize,
    in_total: Arc<AtomicUsize>,
}

impl Unread {
    fn add(&self, octets: usize) {
        self.own.fetch_add(octets, Ordering::Relaxed);
        self.in_total.fetch_add(octets, Ordering::Relaxed);
    }

    fn taken(&self, octets: usize) {
        self.own.fetch_sub(octets, Ordering::Relaxed);
        self.in_total.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// What was never taken no longer takes room.
impl Drop for Unread {
    fn drop(&mut self) {
        self.in_total.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

async fn encrypt(tls: TlsAcceptor, patience: Duration, stream: TcpStream, ear: Ear) {
    match timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, ear).await,
        // Whoever speaks no TLS would not understand an answer. The hub may have gone first.
        Ok(Err(_)) | Err(_) => drop(ear.hub.send(Heard::Ended(ear.flow, End::Abandoned)).await),
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, ear: Ear) {
    let Ear { flow, hub, mut lines, unread } = ear;
    let mut buffer = [0; BUFFER];
    let end = loop {
        let heard = tokio::select! {
            line = lines.recv() => match line {
                None => return part(stream).await,
                Some(line) => match say(&mut stream, &line).await {
                    Ok(()) => {
                        unread.taken(line.len());
                        continue;
                    }
                    Err(error) => break end(&error),
                },
            },
            read = stream.read(&mut buffer) => match read {
                Ok(0) => break End::Finished,
                Ok(read) => Heard::Said(flow, buffer[..read].to_vec()),
                Err(error) => break end(&error),
            },
        };
        // Without a hub there is nobody to say goodbye.
        if hub.send(heard).await.is_err() {
            return part(stream).await;
        }
    };
    // The hub may have gone first.
    let _ = hub.send(Heard::Ended(flow, end)).await;
    part(stream).await;
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> io::Result<()> {
    stream.write_all(line).await?;
    stream.flush().await
}

/// Ends a connection so that the peer reads what was said last: a socket that is closed with something
/// unread sends RST, which overtakes it.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let rest = async {
        stream.shutdown().await?;
        let mut octets = [0; BUFFER];
        for _ in 0..MOST_AFTER_THE_END / BUFFER {
            if stream.read(&mut octets).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whoever does not end it as well is not waited for.
    let _ = timeout(PATIENCE, rest).await;
}

fn end(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        io::ErrorKind::TimedOut => End::TimedOut,
        _ => End::Abandoned,
    }
}

/// Most messages fit, and thousands of these are held at once.
const BUFFER: usize = 512;

const PATIENCE: Duration = Duration::from_secs(2);

const MOST_AFTER_THE_END: usize = 64 * 1024;
