//! SOCKS5 (RFC 1928): the host name is a peer's code, as in `7-violin-lagoon.tso`.

use std::sync::Arc;

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::opener::{Opener, Reached, Unreached};
use super::{News, carry};
use crate::punch::Code;
use crate::time::Duration;

/// Does what a program asks for.
pub async fn serve(program: TcpStream, opener: &Arc<Opener>) {
    match timeout(GREETING, greeted(program, opener)).await {
        Ok(Ok(Some((protocol, code)))) => connect(protocol, &code, opener).await,
        // What it wants was refused, and told.
        Ok(Ok(None)) => {}
        Ok(Err(why)) => opener.tell(News::Failed(format!("this is no SOCKS5: {why}"))),
        Err(_) => opener.tell(News::Failed("a program said too little for SOCKS5".to_owned())),
    }
}

type Asked = Socks5ServerProtocol<TcpStream, fast_socks5::server::states::CommandRead>;

/// The peer that it asks for, if it asks for one.
async fn greeted(
    program: TcpStream,
    opener: &Opener,
) -> Result<Option<(Asked, Code)>, SocksServerError> {
    let greeted = Socks5ServerProtocol::accept_no_auth(program).await?;
    let (protocol, command, target) = greeted.read_command().await?;
    if command != Socks5Command::TCPConnect {
        protocol.reply_error(&ReplyError::CommandNotSupported).await?;
        return Ok(None);
    }
    match code(&target) {
        Ok(code) => Ok(Some((protocol, code))),
        Err(why) => {
            opener.tell(News::Failed(format!("{target}: {why}")));
            protocol.reply_error(&ReplyError::ConnectionNotAllowed).await?;
            Ok(None)
        }
    }
}

fn code(target: &TargetAddr) -> Result<Code, String> {
    let TargetAddr::Domain(name, _) = target else { return Err(SHAPE.to_owned()) };
    let name = name.trim_end_matches('.');
    let code = name.len().checked_sub(SUFFIX.len()).and_then(|end| name.split_at_checked(end));
    match code {
        Some((code, suffix)) if suffix.eq_ignore_ascii_case(SUFFIX) => code.parse(),
        _ => Err(SHAPE.to_owned()),
    }
}

async fn connect(protocol: Asked, code: &Code, opener: &Arc<Opener>) {
    // A program that has gone needs no answer.
    match opener.reach(code, |_| {}).await {
        Ok(Reached { peer, .. }) => {
            let Ok(local) = peer.local_addr() else { return };
            if let Ok(program) = protocol.reply_success(local).await {
                carry(program, peer).await;
            }
        }
        Err(why) => {
            let _ = protocol.reply_error(&reply(why)).await;
        }
    }
}

const fn reply(why: Unreached) -> ReplyError {
    match why {
        Unreached::NobodyThere => ReplyError::HostUnreachable,
        Unreached::NotOpen => ReplyError::ConnectionRefused,
        Unreached::NotTried => ReplyError::GeneralFailure,
    }
}

/// Under it codes are host names; nobody has it in the DNS.
const SUFFIX: &str = ".tso";

const SHAPE: &str = "a host name here is a peer's code and .tso: 7-violin-lagoon.tso";

/// Programs say at once what they want.
const GREETING: Duration = Duration::from_secs(10);
