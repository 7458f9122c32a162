//! The local proxy: programs that can only connect reach a peer through it. It does for them what it
//! takes to open a connection, and then carries octets.

mod opener;
mod socks;
mod web;

use std::net::TcpListener;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::live::Stop;
use crate::os::poll::{self, Interest, Waker};
use crate::os::tls::Trust;
use crate::os::{self, tcp};
use crate::punch::Code;
use crate::time::Duration;
use crate::wire::Endpoint;
use opener::{Opener, Reached};

/// What a proxy is to do.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The rendezvous server.
    pub server: Endpoint,
    /// Who it has to prove to be, if it speaks TLS.
    pub tls: Option<Trust>,
    /// How often to try to open a connection, each time that one is wanted.
    pub attempts: u32,
    /// How long to try, each time.
    pub patience: Duration,
    /// Where programs come in.
    pub doors: Vec<Door>,
    /// The local service that peers are let to: a name or an address, and a port.
    pub accept: Option<(String, u16)>,
}

/// Where programs come in, and whom they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// By SOCKS5: the peer whose code is the host name.
    Socks(Endpoint),
    /// By connecting: the peer of this code.
    Forward(Endpoint, Code),
    /// By a page for browsers, and a WebSocket behind it: the peer whose code is typed there.
    Web(Endpoint),
}

/// What a proxy has to tell.
#[derive(Clone, Debug)]
pub enum News {
    /// Peers reach the service by this code.
    Waits(Code),
    /// A connection with a peer was opened, in these words.
    Opened(String),
    /// One was wanted, and was not opened.
    Failed(String),
    /// One is wanted, and will take longer.
    Held(String),
}

/// Hears the news, from any thread.
pub type Hear = Arc<dyn Fn(News) + Send + Sync>;

impl Door {
    const fn on(&self) -> Endpoint {
        match self {
            Self::Socks(on) | Self::Forward(on, _) | Self::Web(on) => *on,
        }
    }
}

/// Serves programs until it is stopped. `ready` is called once the first would be served.
///
/// # Errors
/// When an endpoint is taken or not this host's.
pub fn proxy(errand: &Errand, hear: &Hear, stop: Stop<'_>, ready: &dyn Fn()) -> os::Result<()> {
    let listen = |door: &Door| {
        let listener = tcp::listen(tcp::Bind::Exact(door.on()), MOST_WAITING)?;
        Ok((TcpListener::from(listener), door.clone()))
    };
    let doors = errand.doors.iter().map(listen).collect::<os::Result<Vec<_>>>()?;
    let ended = Waker::new()?;
    let (open, closed) = oneshot::channel();
    let opener = Arc::new(Opener::new(errand, hear));
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let _ends = ended.at_end();
            serve(doors, errand, &opener, closed)
        });
        ready();
        let waited = poll::wait(&[stop.interest(), Interest::read(&ended)], None);
        // Taken, it no longer ends the process by itself.
        stop.has_come();
        opener.stop();
        drop(open);
        let served = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        waited.map(drop).and(served)
    })
}

fn serve(
    doors: Vec<(TcpListener, Door)>,
    errand: &Errand,
    opener: &Arc<Opener>,
    stop: oneshot::Receiver<()>,
) -> os::Result<()> {
    let failed = |e| os::Error::kernel("serve", "a proxy", e);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        for (listener, door) in doors {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            tokio::spawn(admit(listener, door, Arc::clone(opener)));
        }
        if let Some(service) = errand.accept.clone() {
            tokio::spawn(await_peers(service, Arc::clone(opener)));
        }
        // Its other end goes when the proxy is stopped.
        let _ = stop.await;
        Ok(())
    })
}

async fn admit(listener: tokio::net::TcpListener, door: Door, opener: Arc<Opener>) {
    loop {
        let Ok((program, _)) = listener.accept().await else {
            // Too many descriptors, most likely: others have to go first.
            sleep(PAUSE).await;
            continue;
        };
        let (door, opener) = (door.clone(), Arc::clone(&opener));
        tokio::spawn(async move {
            match door {
                Door::Socks(_) => socks::serve(program, &opener).await,
                Door::Forward(_, code) => forward(program, &code, &opener).await,
                Door::Web(on) => web::serve(program, on, &opener).await,
            }
        });
    }
}

/// A program that gets no peer sees its connection reset: it never stood.
async fn forward(program: TcpStream, code: &Code, opener: &Arc<Opener>) {
    match opener.reach(code, |_| {}).await {
        Ok(Reached { peer, .. }) => carry(program, peer).await,
        Err(_) => drop(program.set_zero_linger()),
    }
}

/// Lets each peer that comes to the service, for as long as the server keeps a room.
async fn await_peers((host, port): (String, u16), opener: Arc<Opener>) {
    loop {
        match opener.receive().await {
            Ok(Reached { peer, .. }) => {
                let (host, opener) = (host.clone(), Arc::clone(&opener));
                tokio::spawn(async move {
                    match TcpStream::connect((host.as_str(), port)).await {
                        Ok(service) => carry(service, peer).await,
                        Err(why) => opener.tell(News::Failed(format!(
                            "the service {host}:{port} takes no connection: {why}"
                        ))),
                    }
                });
            }
            Err(_) => sleep(BEFORE_ANOTHER).await,
        }
    }
}

/// Octets both ways, until both have ended; the end of one way is passed on and leaves the other open.
async fn carry(mut one: impl AsyncRead + AsyncWrite + Unpin, mut other: TcpStream) {
    // Whichever breaks it, both are told by the end.
    let _ = copy_bidirectional(&mut one, &mut other).await;
}

/// As in a listener's second argument.
const MOST_WAITING: u16 = 128;

const PAUSE: Duration = Duration::from_millis(50);

/// What failed once is not tried again at once.
const BEFORE_ANOTHER: Duration = Duration::from_secs(2);
