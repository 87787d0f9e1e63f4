//! `snapshot PATH [max_age DURATION]`, and what several stanzas may say of it together.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use super::Draft;
use crate::cluster::snapshot::SnapshotFile;
use crate::cluster::{ClusterKey, Source};
use crate::config::value;
use crate::corefile::reader::Reader;
use crate::corefile::{Diagnostic, nearest, quoted};

/// A day: longer than an outage lasts, and Pods that are older than that have moved.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// The snapshots of the stanzas of a Corefile, as far as it has been read.
#[derive(Debug, Default)]
pub struct Snapshots(RefCell<Vec<(ClusterKey, SnapshotFile)>>);

/// Reads the property.
pub(super) fn property(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let words = line.at_least(1)?;
    if let [_, word, ..] = words
        && word.text != "max_age"
    {
        let message = format!("unknown option of snapshot {}", quoted(&word.text));
        let fault = Diagnostic::error(message, word.span);
        return line.report(fault.with_nearest(nearest(&word.text, ["max_age"])));
    }
    let words = line.between(if words.len() > 1 { 3 } else { 1 }, 3)?;
    if words[0].text.is_empty() {
        return line.refuse(&words[0], "snapshot needs the path of a file");
    }
    if draft.snapshot.is_some() {
        return line.refuse(line.name(), "snapshot can only be set once");
    }
    let max_age = match words.get(2) {
        None => MAX_AGE_DEFAULT,
        Some(word) => match line.value(word, value::duration)? {
            Some(age) if age >= Duration::from_secs(1) => age,
            _ => {
                let message = format!("max_age must be at least 1s: {}", word.text);
                return line.refuse(word, message);
            }
        },
    };
    draft.snapshot = Some(SnapshotFile {
        path: PathBuf::from(&words[0].text),
        max_age,
    });
    Some(())
}

/// Whether the snapshot of a stanza goes with its cluster, and with the stanzas before: a cluster has one file, and a file
/// is of one cluster.
pub(super) fn check(
    stanza: &Reader<'_>,
    cluster: &ClusterKey,
    snapshot: Option<&SnapshotFile>,
    others: &Snapshots,
) -> Option<()> {
    let Some(snapshot) = snapshot else {
        return Some(());
    };
    let mut lines = stanza.lines();
    let line = lines.find(|line| line.name().text == "snapshot");
    let word = line.map_or(stanza.name(), |line| line.name());
    if matches!(cluster.source, Source::Manifests(_)) {
        let fault = Diagnostic::error("manifests and snapshot cannot both be set", word.span);
        let hint =
            "files of manifests are read again at a start: nothing is gained by a snapshot of them";
        return stanza.report(fault.with_hint(hint));
    }
    for (known, file) in others.0.borrow().iter() {
        if known == cluster && file != snapshot {
            let fault = "another stanza of the same cluster has another snapshot";
            let fault = Diagnostic::error(fault, word.span);
            let hint = format!("they share one: {}", file.path.display());
            return stanza.report(fault.with_hint(hint));
        }
        if known != cluster && file.path == snapshot.path {
            let fault = format!(
                "{} is the snapshot of another cluster already",
                quoted(&snapshot.path.display().to_string())
            );
            let fault = Diagnostic::error(fault, word.span);
            let hint = "another API server, or other labels, need a file of their own";
            return stanza.report(fault.with_hint(hint));
        }
    }
    let claim = (cluster.clone(), snapshot.clone());
    others.0.borrow_mut().push(claim);
    Some(())
}
