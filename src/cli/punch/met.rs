//! A punch with the help of a rendezvous server.

use super::super::failure::Failure;
use super::super::finish::{remark, show};
use super::super::request::{Form, Host};
use super::super::run::first_of;
use super::super::screen::Screen;
use super::args::{Agree, Port, Punch, Then};
use super::discreet::Teller;
use crate::engine::{Fact, Punched, Run};
use crate::live::{self, Ended, Flows, Stop};
use crate::os::{self, entropy};
use crate::punch::{Code, Introduced, Introduction, Words};
use crate::report;
use crate::time::Duration;
use crate::verdict::{Foreseen, judge_punch};

/// Opens the connection, in as many attempts as it takes; what earlier ones have taught is told at once,
/// and kept.
///
/// # Errors
/// When it cannot be tried.
pub fn punch(
    request: &Punch,
    seed: u64,
    (stop, teller): (Stop<'_>, &Teller),
    watch: &mut dyn FnMut(&Fact),
    earlier: &mut Vec<Foreseen>,
) -> Result<os::Result<Ended>, Failure> {
    let Agree::Met { server, tls, code, from, attempts } = &request.agree else {
        return Err(Failure::new("no rendezvous server is given", "give --rendezvous HOST"));
    };
    let (to, tls) = (first_of(server, "rendezvous server")?, tls.trust(server)?);
    let words = code
        .as_ref()
        .map_or_else(|| entropy::secret().map(Words::two), |code| Ok(code.words.clone()))?;
    let port = match from {
        Port::Given(port) => Some(*port),
        Port::Free => Some(live::free_port(seed)?),
        Port::Host => None,
    };
    let introduction = Introduction {
        server: to,
        room: code.as_ref().map(|code| code.room),
        claim: None,
        words: words.clone(),
        port,
        attempts: *attempts,
        wait: ANSWER,
        patience: request.timeout,
        secret: entropy::secret()?,
        seed,
    };
    teller.say(&format!("asking the rendezvous server at {to}"));
    let mut is_told = false;
    let mut see = |fact: &Fact| {
        if let Fact::Punch { what: Punched::Waits { room }, .. } = fact
            && !std::mem::replace(&mut is_told, true)
        {
            teller.end();
            tell(request, server, &Code { room: *room, words: words.clone() });
        }
        watch(fact);
    };
    let mut failed = |number: u32, run: &Run| {
        let foreseen = judge_punch(&teller.masked(run)).foreseen;
        teller.end();
        foreseen.iter().for_each(|told| report_failed(request, number, told));
        earlier.extend(foreseen);
    };
    let (mut introduced, flows) = (Introduced::new(introduction), Flows::default().sealed(tls));
    Ok(live::punch_introduced(&mut introduced, flows, stop, &mut see, &mut failed))
}

/// The code, on stdout for programs, and on stderr what to do with it.
fn tell(request: &Punch, server: &Host, code: &Code) {
    if may_use_stdout(request) {
        show(&format!("{code}\n"));
    }
    remark(&format!(
        "on the other side: tso-probe punch --rendezvous {} {code}\n",
        written(server)
    ));
}

fn report_failed(request: &Punch, number: u32, told: &Foreseen) {
    let text = report::punch_failed(number, told, Screen::of_stdout().width);
    if may_use_stdout(request) { show(&text) } else { remark(&text) }
}

/// Whether stdout is for prose: neither for an object of JSON nor for the connection.
fn may_use_stdout(request: &Punch) -> bool {
    request.output.form == Form::Text && request.then != Then::Pipe
}

fn written(server: &Host) -> String {
    let Host { name, port } = server;
    match (name.contains(':'), *port == crate::rendezvous::RENDEZVOUS_PORTS[0]) {
        (_, true) => name.clone(),
        (true, false) => format!("[{name}]:{port}"),
        (false, false) => format!("{name}:{port}"),
    }
}

/// What to do if the ends did not come so far as to try, for this reason.
pub fn hint(server: &Host, code: Option<&Code>, why: &str) -> String {
    let (at, Host { name, port }) = (written(server), server);
    let says = |what: &[&str]| what.iter().any(|what| why.contains(what));
    let tells_itself = why.starts_with("the rendezvous server") && !says(&[" says: ", "the peer"]);
    if says(&["TLS with"]) {
        return tls_hint(name, why);
    }
    if tells_itself || why.starts_with("what the rendezvous server says") {
        return format!(
            "check that 'tso-probe serve' of this version runs there and that its firewall lets port \
             {port} in; if it has a certificate, give --tls"
        );
    }
    if says(&["(too-many-joins)", "(busy)", "(too-many-rooms)", "(too-fast)"]) {
        return "wait a minute and run it again; whoever runs the server may allow more: 'tso-probe serve \
                --help'"
            .to_owned();
    }
    match code {
        Some(code) if says(&["interrupted", "the peer is silent", "the peer has left"]) => {
            format!(
                "run it again once the other side waits; it may be told another code than {code} then"
            )
        }
        Some(_) => format!(
            "the other side runs 'tso-probe punch --rendezvous {at}' and waits; it is told another code \
             each time"
        ),
        None => format!("run it again; the other side needs the new code: --rendezvous {at} CODE"),
    }
}

fn tls_hint(name: &str, why: &str) -> String {
    if why.contains("InvalidContentType") {
        return "the server speaks no TLS: leave --tls away, or see whether this is its port"
            .to_owned();
    }
    format!(
        "the server's certificate has to be for {name} and by an authority of this host's or of a file: \
         --tls-ca FILE.pem; the README, under 'Meet by a code', has a command that makes one"
    )
}

/// How long the server, or the peer, may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
