//! Captures, explained.

mod copy;
mod filter;
mod judged;
mod live;
mod reader;
mod sink;

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use super::failure::Failure;
use super::finish::complain;
use crate::report::CaptureAccount;
use filter::{Filter, FilterArgs};
use sink::{Also, Output, Sink};

/// `analyze`'s arguments.
#[derive(Args, Debug)]
pub struct AnalyzeArgs {
    /// Captures (pcap or pcapng, packed by gzip or not), directories of them, or - for stdin. Up to four
    /// are compared: connections that several of them saw are merged
    #[arg(value_name = "FILE", required_unless_present_any = ["json_schema", "interface"])]
    pub files: Vec<PathBuf>,
    /// Watch this interface instead, until Ctrl-C; needs root
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "annotate"])]
    pub interface: Option<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Show every connection, not only those that deserve attention
    #[arg(long)]
    pub all: bool,
    /// Show this connection in full; the table has the numbers
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["json", "ndjson"])]
    pub ladder: Option<u64>,
    /// Draw that connection, or else the first that deserves attention
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Write all that deserves attention as one page, without script or network
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Write the capture again, with comments that Wireshark shows at the frames that matter
    #[arg(long, value_name = "FILE.pcapng")]
    pub annotate: Option<PathBuf>,
    /// Answer in JSON: every connection, the captures and the counts
    #[arg(long, conflicts_with = "ndjson")]
    pub json: bool,
    /// A line of JSON for each connection, as soon as it is decided, as its own capture has it: what
    /// several captures saw together is in --json
    #[arg(long)]
    pub ndjson: bool,
    /// Print the schema of the JSON and do nothing else
    #[arg(long)]
    pub json_schema: bool,
}

/// Examples below the help.
pub const HELP: &str = "\
Examples:
  tso-probe analyze failed.pcapng                    why it failed, with the frames
  tso-probe analyze a.pcap b.pcap                    both ends: what became of each packet
  tso-probe analyze --port 7000 --outcome refused captures/
  sudo tso-probe analyze --interface eth0 --ndjson
  tcpdump -w - 'tcp or icmp' | tso-probe analyze --ndjson - | jq .diagnosis

Exit codes: 0 analysed; 2 a file could not be read at all.";

/// Captures to be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Analyze {
    files: Vec<PathBuf>,
    interface: Option<String>,
    filter: Filter,
    output: Output,
    also: Also,
}

impl Analyze {
    /// What the arguments ask for.
    pub fn new(args: AnalyzeArgs) -> Self {
        let output = match (args.ladder, args.json, args.ndjson) {
            (Some(number), ..) => Output::Ladder(number),
            (None, true, _) => Output::Json,
            (None, false, true) => Output::Lines,
            (None, false, false) => Output::Text { all: args.all },
        };
        let also = Also { svg: args.svg, html: args.html, annotate: args.annotate };
        let (files, interface, filter) = (args.files, args.interface, Filter::new(args.filter));
        Self { files, interface, filter, output, also }
    }
}

/// Reads the captures, and says what is in them.
///
/// # Errors
/// If none of them can be read, or no such connection is in them.
pub fn analyze(request: &Analyze) -> Result<Exit, Failure> {
    if let Some(interface) = &request.interface {
        let mut sink = Sink::new(request.output, request.filter.clone(), request.also.clone());
        let account = live::watch(interface, &mut sink)?;
        sink.close(&[account])?;
        return Ok(Exit::Answered);
    }
    let files = files(&request.files)?;
    let copied = request.also.copied(&files)?;
    request.also.spares(&files)?;
    let mut sink = Sink::new(request.output, request.filter.clone(), request.also.clone());
    if files.len() > 1 {
        sink.expect_several_points();
    }
    let (mut accounts, mut failed) = (Vec::new(), false);
    for (number, file) in files.iter().enumerate() {
        match reader::read(file, number + 1, &mut sink) {
            Ok(account) => {
                sink.judged(judged::judged(file, number + 1));
                match unreadable(&account) {
                    Some(failure) => {
                        complain(&failure);
                        failed = true;
                    }
                    None => account.warnings().iter().for_each(|what| warn(what)),
                }
                accounts.push(account);
            }
            Err(failure) => {
                complain(&failure);
                failed = true;
            }
        }
        if sink.is_deaf() {
            break;
        }
    }
    let remarks = sink.close(&accounts)?;
    if let (Some(original), Some(copy)) = (copied, &request.also.annotate) {
        copy::annotate(original, copy, &remarks)?;
    }
    Ok(if failed { Exit::CouldNotAsk } else { Exit::Answered })
}

/// Why nothing of a file could be read, not even its header, if that is so.
fn unreadable(account: &CaptureAccount) -> Option<Failure> {
    let flaw = account.truncated.as_ref().filter(|flaw| flaw.at_octet == 0)?;
    let error = format!("{}: octet {}: {}", account.file, flaw.at_octet, flaw.because);
    Some(Failure::new(error, "name a capture: pcap or pcapng, packed by gzip or not"))
}

/// The files that were named, and those in the directories that were, in order of their names.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |why: std::io::Error| {
            Failure::new(format!("read {}: {why}", path.display()), "name files that can be read")
        };
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let mut inside: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        inside.retain(|path| path.is_file() && is_capture(path));
        inside.sort();
        files.extend(inside);
    }
    if files.is_empty() {
        let error = "there is no capture in the directories that were named";
        return Err(Failure::new(
            error,
            "captures end in .pcap, .pcapng or .cap, and .gz if packed",
        ));
    }
    Ok(files)
}

/// By its name, as tools and people give them.
fn is_capture(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".pcap", ".pcapng", ".cap", ".dmp"].iter().any(|end| name.ends_with(end))
}

fn warn(what: &str) {
    super::finish::remark(&format!("warning: {what}\n"));
}
