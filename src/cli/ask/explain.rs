//! `cairn explain NAME [TYPE]`: why a name is answered as it is.

use std::fmt::Write;

use super::request::Server;
use super::text::{age, printable, record, table};
use super::{Explain, Told};
use crate::admin::words::{ExplainRequest, Explanation, Step};

pub(super) fn run(server: &Server, asked: &Explain) -> Result<Told<Explanation>, String> {
    let request = ExplainRequest {
        name: asked.name.clone(),
        rtype: asked.rtype.clone(),
        from: asked.from,
        server: asked.server,
        port: asked.port,
    };
    let answer: Explanation = server.ask("/explain", &request)?;
    let text = text(&answer);
    Ok(Told { answer, text })
}

fn text(answer: &Explanation) -> String {
    let zone = match &answer.zone {
        Some(zone) => format!("zone {zone}"),
        None => "no zone of it has this name".to_owned(),
    };
    let mut text = format!(
        "{} {} from {}, asked of {}: {}\n\n",
        printable(&answer.name),
        printable(&answer.rtype),
        answer.from,
        printable(&answer.server),
        printable(&zone),
    );
    if !answer.steps.is_empty() {
        let rows: Vec<[String; 4]> = answer.steps.iter().map(step).collect();
        text += &table(["AFTER", "PLUGIN", "SAYS", "WHY"], &rows);
        if answer.steps_left_out > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(text, "... and {} more", answer.steps_left_out);
        }
        text.push('\n');
    }
    text + &objects(answer) + &watches(answer) + &reply(answer)
}

fn objects(answer: &Explanation) -> String {
    if answer.objects.is_empty() {
        return String::new();
    }
    let rows = answer.objects.iter().map(|object| {
        let version = object.resource_version.map(|version| version.to_string());
        [
            object.resource.clone(),
            object.service.clone(),
            version.unwrap_or_default(),
            age(object.age),
        ]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    table(["OBJECT", "SERVICE", "VERSION", "TOLD"], &rows) + "\n"
}

/// What is not there rests on them too.
fn watches(answer: &Explanation) -> String {
    if answer.resources.is_empty() {
        return String::new();
    }
    let rows = answer.resources.iter().map(|resource| {
        let heard = resource.heard.map_or("never".to_owned(), age);
        [
            resource.resource.clone(),
            resource.resource_version.clone(),
            heard,
        ]
    });
    let rows: Vec<[String; 3]> = rows.collect();
    table(["WATCH", "VERSION", "HEARD"], &rows) + "\n"
}

fn step(step: &Step) -> [String; 4] {
    let indent = "  ".repeat(step.depth.into());
    let says = match step.verdict.as_str() {
        "looks" => "",
        verdict => verdict,
    };
    [
        millis(step.after_us),
        indent + &step.by,
        says.to_owned(),
        step.words.clone(),
    ]
}

fn reply(answer: &Explanation) -> String {
    let after = millis(answer.elapsed_us);
    let Some(reply) = &answer.reply else {
        return format!("No reply, after {after}\n");
    };
    let mut text = format!(
        "{} after {after}, {} octets, flags {}\n",
        printable(&reply.rcode),
        reply.octets,
        printable(&reply.flags)
    );
    for error in &reply.extended_errors {
        let words = match error.text.as_str() {
            "" => String::new(),
            words => format!(": {}", printable(words)),
        };
        let _ = writeln!(text, "extended error {}{words}", error.code);
    }
    let sections = [
        ("ANSWER", &reply.answer),
        ("AUTHORITY", &reply.authority),
        ("ADDITIONAL", &reply.additional),
    ];
    for (title, records) in sections
        .into_iter()
        .filter(|(_, records)| !records.is_empty())
    {
        let rows: Vec<[String; 4]> = records.iter().map(record).collect();
        text.push('\n');
        text += &table([title, "TTL", "TYPE", "DATA"], &rows);
    }
    text
}

fn millis(micros: u64) -> String {
    format!("{:.3}ms", micros as f64 / 1000.0)
}
