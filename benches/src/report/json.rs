//! The report as one flat JSON object.

use serde_json::{Map, Value as Json, json};

use super::Report;
use super::limits::figures;
use super::record::Value;
use super::samples::median;

/// Writes the object, one field per line.
pub(super) fn text(report: &Report) -> String {
    let object = object(report);
    let lines: Vec<_> = object.iter().map(|(name, value)| format!("  {}: {value}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn object(report: &Report) -> Map<String, Json> {
    let reasons = report.reasons();
    let facts = &report.facts;
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| object.insert(name.into(), value);
    put("commit", json!(facts.commit));
    put("dirty", json!(facts.dirty));
    put("date", json!(facts.date));
    put("runs", json!(report.runs));
    put("machine", json!(facts.machine));
    put("broken", json!(!reasons.is_empty()));
    put("broken_because", json!(reasons));
    for entry in &report.entries {
        match &entry.value {
            Value::Number(number) => put(&entry.name, json!(number)),
            Value::Text(text) => put(&entry.name, json!(text)),
            Value::Ratio(samples, _) => {
                put(&entry.name, json!(median(samples)));
                put(&format!("{}_samples", entry.name), json!(samples))
            }
        };
    }
    put("limits", limits(report));
    put("plots", plots(report));
    object
}

/// Returns the limits and aims of the figures in this report.
fn limits(report: &Report) -> Json {
    let limited = figures().filter_map(|figure| {
        let limits = figure.limits_in(|field| report.value(field));
        limits.must.map(|must| (figure.name.to_owned(), json!({ "must": must, "aim": limits.aim })))
    });
    Json::Object(limited.collect())
}

/// Returns the data of the plots.
fn plots(report: &Report) -> Json {
    let latencies = report.latencies.iter().map(|one| (one.series.clone(), json!(one.quantiles)));
    let throughput = report.throughput.iter().map(|one| (one.series.clone(), json!(one.points)));
    let frontier = report.frontier.iter().map(|point| {
        json!({
            "chunk_kib": point.chunk_kib,
            "level": point.level,
            "stored_mib": point.stored_mib,
            "cold_us": point.cold_us,
            "is_default": point.is_default,
        })
    });
    json!({
        "latencies_ns": Json::Object(latencies.collect()),
        "throughput_mbps": Json::Object(throughput.collect()),
        "frontier": frontier.collect::<Vec<_>>(),
    })
}
