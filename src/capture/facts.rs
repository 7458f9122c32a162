//! The facts of a run ↔ the comments of a section header.
//!
//! A comment of ours starts with a line `tso-probe evidence 1, part 2 of 3, started 0`; the parts
//! together are JSON, a line for each fact: `[nanoseconds since the start, fact]`.

use super::{Evidence, Problem, label};
use crate::engine::{Fact, Run};
use crate::time::{Duration, Instant};

/// The comments that carry the facts.
pub fn to_comments(evidence: &Evidence) -> Vec<String> {
    let text = to_lines(&evidence.run);
    let parts = split(&text);
    let of = parts.len();
    let started = evidence.started.as_nanos();
    let parts = parts.into_iter().enumerate().map(|(index, part)| {
        format!("{MAGIC} {VERSION}, part {} of {of}, started {started}\n{part}", index + 1)
    });
    std::iter::once(WELCOME.to_owned()).chain(parts).collect()
}

/// The facts and the start that the comments carry; other comments are passed over.
pub fn from_comments<'a>(comments: impl Iterator<Item = &'a str>) -> Result<Evidence, Problem> {
    let parts: Vec<_> = comments.filter_map(Part::find).collect::<Result<_, _>>()?;
    let Some(first) = parts.first() else { return Err(Problem::NoFacts) };
    let (of, started) = (first.of, first.started);
    if let Some(part) = (1..=of.max(parts.len())).find(|n| !has_place(&parts, *n)) {
        return Err(Problem::MissingPart { part, of });
    }
    let text: String = parts.iter().map(|part| part.text).collect();
    Ok(Evidence { run: Run { facts: from_lines(&text)?, ..Run::default() }, started })
}

fn has_place(parts: &[Part<'_>], number: usize) -> bool {
    parts.get(number - 1).is_some_and(|part| part.number == number && part.of == parts.len())
}

/// One comment of ours.
struct Part<'a> {
    number: usize,
    of: usize,
    started: Duration,
    text: &'a str,
}

impl<'a> Part<'a> {
    /// Reads a comment, if it is one of ours.
    fn find(comment: &'a str) -> Option<Result<Self, Problem>> {
        let (line, text) = comment.strip_prefix(MAGIC)?.split_once('\n')?;
        let line = line.trim();
        let (version, rest) = line.split_once(',')?;
        if version != VERSION {
            return Some(Err(Problem::OtherVersion(version.to_owned())));
        }
        let words: Vec<_> = rest.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let ["part", number, "of", of, "started", started] = words[..] else { return None };
        Some(Ok(Self {
            number: number.parse().ok()?,
            of: of.parse().ok()?,
            started: Duration::from_nanos(started.parse().ok()?),
            text,
        }))
    }
}

fn to_lines(run: &Run) -> String {
    let line = |fact| serde_json::to_string(fact).expect("a fact has string keys alone") + "\n";
    run.facts.iter().filter(|(_, fact)| !matches!(fact, Fact::Seen(_))).map(line).collect()
}

fn from_lines(text: &str) -> Result<Vec<(Instant, Fact)>, Problem> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    numbered
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|error| Problem::BadFact { line: index + 1, why: error.to_string() })
        })
        .collect()
}

/// Cuts text into parts that fit a comment; empty text is one part.
fn split(text: &str) -> Vec<&str> {
    let (part, mut rest) = label::split(text);
    let mut parts = vec![part];
    while !rest.is_empty() {
        let (part, after) = label::split(rest);
        parts.push(part);
        rest = after;
    }
    parts
}

/// The first comment, for people. mergecap writes its own remark in front of a file's first
/// comment, so the facts must not stand in that.
const WELCOME: &str = "Evidence of one run of tso-probe: a frame for each packet, at each place \
                       where it was seen. What packets do not show follows, a line for each fact.";

const MAGIC: &str = "tso-probe evidence";

/// Raised by every change that an older reader would misread.
const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_missing_is_named() {
        let comment = "tso-probe evidence 1, part 2 of 2, started 0\n";
        let error = from_comments([comment].into_iter()).expect_err("part 1 is missing");
        assert_eq!(error, Problem::MissingPart { part: 1, of: 2 });
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let comment = "tso-probe evidence 9, part 1 of 1, started 0\n";
        let error = from_comments([comment].into_iter()).expect_err("version 9");
        assert_eq!(error, Problem::OtherVersion("9".to_owned()));
    }

    #[test]
    fn a_fact_that_carries_a_packet_is_refused() {
        let comment = "tso-probe evidence 1, part 1 of 1, started 0\n[0,{\"fact\":\"seen\"}]\n";
        let error = from_comments([comment].into_iter()).expect_err("packets stand in the trace");
        assert!(matches!(error, Problem::BadFact { line: 1, .. }), "{error:?}");
    }
}
