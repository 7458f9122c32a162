//! What is to be said of single frames, for their comments in a capture.

use crate::report::words::word;
use crate::verdict::Connection;

/// What each frame of the connection means: whose it is, which state it led to, and what it shows.
pub fn remarks(connection: &Connection) -> Vec<(u64, String)> {
    let Connection { number, a, b, .. } = connection;
    let remarks = connection.trace.iter().map(|line| {
        let end = super::name(line.from);
        let mut text = format!("[tso-probe] connection {number} (a {a}, b {b}), from {end}");
        for change in connection.states.iter().filter(|change| change.at_us == line.at_us) {
            let side = super::name(change.side);
            text.push_str(&format!("; {side}: {} to {}", change.from, change.to));
        }
        for found in connection.diagnosis.iter().filter(|found| found.frames.contains(&line.frame))
        {
            text.push_str(&format!("; shows {}: {}", word(&found.cause), found.because));
        }
        (line.frame, text)
    });
    remarks.collect()
}
