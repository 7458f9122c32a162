//! What can be wrong with an evidence file, and what to do about it.

use std::fmt;

use crate::wire::DecodeError;

/// A file that holds no evidence, or damaged evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Octets from the start of the file to the block that could not be used.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has no octets.
    Empty,
    /// It is a capture in the older format.
    ClassicPcap,
    /// It is compressed.
    Compressed,
    /// It does not start as a pcapng file does.
    NotPcapng,
    /// It ends inside a block.
    CutShort,
    /// A block's lengths or options contradict each other.
    BadBlock,
    /// A second section starts: two files in one.
    SecondSection,
    /// It holds packets, but no facts of a run.
    NoFacts,
    /// It was written by a version that this one cannot read.
    OtherVersion(String),
    /// A part of the facts is missing or doubled.
    MissingPart {
        /// The part, from 1.
        part: usize,
        /// How many there should be.
        of: usize,
    },
    /// A fact could not be read.
    BadFact {
        /// Its line among the facts, from 1.
        line: usize,
        /// Why not.
        why: String,
    },
    /// A frame names an interface that the file does not describe.
    UnknownInterface(u32),
    /// An interface stands for no place of a run.
    ForeignInterface(String),
    /// An interface's packets start with a link-layer header.
    LinkType(i32),
    /// A frame does not say whether it arrived or left.
    NoDirection {
        /// Its number, from 1.
        frame: usize,
    },
    /// A frame holds no packet that can be read.
    BadPacket {
        /// Its number, from 1.
        frame: usize,
        /// Why not.
        why: DecodeError,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.problem {
            Problem::ClassicPcap => {
                "classic pcap has no room for the facts of a run; use the pcapng file that \
                 --evidence wrote, not a copy converted to pcap"
            }
            Problem::Compressed => "decompress it first, for example with gunzip",
            Problem::SecondSection => "give one file per run; do not concatenate them",
            Problem::OtherVersion(_) => "read it with the version of tso-probe that wrote it",
            Problem::CutShort => "copy the file again; the writer may also have been interrupted",
            Problem::MissingPart { .. } => {
                "the comments of the file's section header were edited; use the original file"
            }
            Problem::BadFact { .. } | Problem::BadPacket { .. } | Problem::BadBlock => {
                "the file was damaged or edited; use the original file"
            }
            Problem::Empty
            | Problem::NotPcapng
            | Problem::NoFacts
            | Problem::UnknownInterface(_)
            | Problem::ForeignInterface(_)
            | Problem::LinkType(_)
            | Problem::NoDirection { .. } => "give a file that tso-probe wrote with --evidence",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octet {}: {}", self.offset, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::ClassicPcap => f.write_str("this is a classic pcap file"),
            Self::Compressed => f.write_str("this is a compressed file"),
            Self::NotPcapng => f.write_str("this is no pcapng file"),
            Self::CutShort => f.write_str("the file ends inside a block"),
            Self::BadBlock => f.write_str("a block's lengths or options make no sense"),
            Self::SecondSection => f.write_str("a second section starts here"),
            Self::NoFacts => f.write_str("the file has no facts of a run, only packets"),
            Self::OtherVersion(theirs) => write!(f, "the evidence is of version {theirs}"),
            Self::MissingPart { part, of } => {
                write!(f, "part {part} of {of} of the facts is missing or doubled")
            }
            Self::BadFact { line, why } => write!(f, "line {line} of the facts: {why}"),
            Self::UnknownInterface(id) => write!(f, "interface {id} is not described"),
            Self::ForeignInterface(name) => write!(f, "interface '{name}' is no place of a run"),
            Self::LinkType(kind) => write!(f, "link type {kind} instead of raw IP"),
            Self::NoDirection { frame } => write!(f, "frame {frame} has no direction"),
            Self::BadPacket { frame, why } => write!(f, "frame {frame}: {why}"),
        }
    }
}

impl std::error::Error for Error {}
