//! A complete report, and the effect of each rule on a report that breaks it.

use std::env;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::facts::{Facts, rfc3339};
use super::limits::figures;
use super::rows::{Verdict, groups};
use super::samples::{median, quantiles};
use super::{Better, FrontierPoint, Report, html, json, numbers, rows, table};

fn facts() -> Facts {
    Facts {
        commit: Some("564ed69c0ffee564ed69c0ffee564ed69c0ffee0".into()),
        dirty: false,
        date: "2026-11-22T18:30:22Z".into(),
        machine: "AMD EPYC 7B13, 2 cores, 7.8 GiB, Linux 6.1.0-18-amd64".into(),
    }
}

/// Returns samples around a middle, the same each time.
fn around(middle: f64) -> Vec<f64> {
    (0..15).map(|at| middle + f64::from((at * 7) % 15 - 7) * 0.003).collect()
}

fn latencies(median: f64, spread: f64) -> Vec<u64> {
    let bell = |share: f64| (share / (1.0 - share)).ln() * 0.55;
    (0..5000).map(|at| (median * (bell((f64::from(at) + 0.5) / 5000.0) * spread).exp()) as u64).collect()
}

fn frontier() -> Vec<FrontierPoint> {
    let mut points = Vec::new();
    for (chunk_kib, packs, base) in [(16, 1.09, 19.0), (32, 1.0, 32.0), (64, 0.94, 58.0), (128, 0.905, 109.0)]
    {
        for (level, size, slower) in [
            (1, 470.0, 0.94),
            (3, 441.0, 1.0),
            (6, 428.0, 0.97),
            (9, 422.0, 0.96),
            (15, 415.0, 0.97),
            (19, 402.0, 1.06),
        ] {
            points.push(FrontierPoint {
                chunk_kib,
                level,
                stored_mib: size * packs,
                cold_us: base * slower,
                is_default: (chunk_kib, level) == (32, 9),
            });
        }
    }
    points
}

/// Makes a complete report without the named figures.
fn without(left_out: &[&str]) -> Report {
    let mut report = Report::of(15, facts());
    let numbers = [
        ("cold_4k_us", 41.2),
        ("cold_4k_full_us", 55.0),
        ("hot_4k_ns", 312.0),
        ("seq_mbps", 2834.0),
        ("import_unique_mbps", 612.0),
        ("import_shared_mbps", 1893.0),
        ("open_ms", 0.84),
        ("open_reads", 3.0),
        ("open_bytes", 139_264.0),
        ("boot_replay_cpu_ms", 61.0),
        ("index_ram_mib_per_tib", 312.0),
        ("index_lookup_gbps", 3.4),
        ("index_sharing_lost_percent", 0.0),
        ("stored_mib", 431.0),
        ("map_mib_per_tib", 1180.0),
        ("seq_decode_amplification", 1.21),
        ("rss_100_images_mib", 97.0),
    ];
    let ratios = [
        ("cold_4k_ratio", 1.03, Some(Better::Lower)),
        ("cold_4k_full_ratio", 1.07, Some(Better::Lower)),
        ("hot_4k_vs_pread", 0.52, None),
        ("seq_ratio", 0.97, Some(Better::Higher)),
        ("seq_full_ratio", 0.91, Some(Better::Higher)),
        ("seq_scaling_ratio", 0.99, None),
        ("import_unique_ratio", 0.96, Some(Better::Higher)),
        ("import_shared_ratio", 0.85, Some(Better::Higher)),
        ("lookup_64_ratio", 1.02, None),
    ];
    for (name, value) in numbers.into_iter().filter(|(name, _)| !left_out.contains(name)) {
        report.number(name, value);
    }
    for (name, middle, better) in ratios.into_iter().filter(|(name, ..)| !left_out.contains(name)) {
        match better {
            Some(better) => report.ratio_to_floor(name, around(middle), better),
            None => report.ratio(name, around(middle)),
        }
    }
    report
}

fn full() -> Report {
    let mut report = without(&[]);
    report.floor("cold_4k_us", 40.0);
    report.floor("seq_mbps", 2921.0);
    report.floor("decode_32k_us", 39.6);
    report.number("unique_mib", 1082.0);
    report.text("disks", "eight Debian disks, <base> & \"appliances\"");
    report.latencies("melv, cold", latencies(41_200.0, 0.3));
    report.latencies("floor, cold", latencies(40_000.0, 0.28));
    report.latencies("melv, hot", latencies(312.0, 0.2));
    report.latencies("pread of a raw file", latencies(601.0, 0.25));
    report.throughput("melv", vec![(4, 5480.0), (1, 1490.0), (2, 2834.0), (8, 9100.0)]);
    report.throughput("floor: bare zstd", vec![(1, 1523.0), (2, 2921.0), (4, 5650.0), (8, 9480.0)]);
    report.throughput("pread of a raw file", vec![(1, 4100.0), (2, 7300.0), (4, 10_800.0), (8, 11_900.0)]);
    report.frontier(frontier());
    report
}

fn object(report: &Report) -> serde_json::Map<String, Json> {
    match serde_json::from_str(&json::text(report)).unwrap() {
        Json::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

#[track_caller]
fn breaks(report: &Report, because: &str) {
    let object = object(report);
    assert!(report.is_broken());
    assert_eq!(object["broken"], true);
    let reasons: Vec<_> = object["broken_because"].as_array().unwrap().iter().map(Json::to_string).collect();
    assert!(reasons.iter().any(|reason| reason.contains(because)), "{reasons:?}");
    assert!(html::page(report).contains("class=\"broken\""));
}

#[test]
fn medians_and_quantiles() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    assert!(median(&[]).is_nan());
    let cut = quantiles((1..=1000).rev().collect());
    assert_eq!((cut.len(), cut[0], cut[100]), (203, (0.0, 1), (0.5, 500)));
    assert_eq!(cut[200..], [(0.999, 999), (0.9999, 1000), (1.0, 1000)]);
    assert_eq!(quantiles(vec![7]).last(), Some(&(1.0, 7)));
}

#[test]
fn dates() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(rfc3339(1_795_372_222), "2026-11-22T18:30:22Z");
}

#[test]
fn fields_of_the_json() {
    let report = full();
    let object = object(&report);
    let first: Vec<_> = object.keys().take(7).map(String::as_str).collect();
    assert_eq!(first, ["commit", "dirty", "date", "runs", "machine", "broken", "broken_because"]);
    assert_eq!((&object["broken"], &object["runs"]), (&Json::from(false), &Json::from(15)));
    assert!(figures().all(|figure| object[figure.name].is_number()));
    assert_eq!(object["floor_seq_mbps"], 2921.0);
    assert_eq!(object["seq_ratio_samples"].as_array().unwrap().len(), 15);
    assert!((object["seq_ratio"].as_f64().unwrap() - 0.97).abs() < 1e-9);
    let plots = &object["plots"];
    assert_eq!(plots["latencies_ns"]["melv, hot"].as_array().unwrap().len(), 203);
    assert_eq!(plots["throughput_mbps"]["melv"][0], serde_json::json!([1, 1490.0]));
    assert_eq!(plots["frontier"].as_array().unwrap().len(), 24);
}

#[test]
fn a_full_report_is_not_broken() {
    assert_eq!(full().reasons(), [""; 0]);
    assert!(!html::page(&full()).contains("class=\"broken\""));
}

#[test]
fn too_few_samples_break() {
    let mut report = without(&["seq_ratio"]);
    report.ratio("seq_ratio", vec![0.97; 8]);
    breaks(&report, "8 samples");
    let mut report = without(&["seq_ratio"]);
    report.ratio("seq_ratio", vec![0.97; 9]);
    assert!(!report.is_broken());
}

#[test]
fn beating_a_floor_breaks() {
    for (middle, better, is_broken) in [
        (0.96, Better::Lower, true),
        (0.98, Better::Lower, false),
        (1.04, Better::Lower, false),
        (1.04, Better::Higher, true),
        (1.02, Better::Higher, false),
        (0.96, Better::Higher, false),
    ] {
        let mut report = without(&["seq_ratio"]);
        report.ratio_to_floor("seq_ratio", vec![middle; 9], better);
        assert_eq!(report.is_broken(), is_broken, "{middle} {better:?}");
        if is_broken {
            breaks(&report, "beats its floor");
        }
    }
    // A ratio to something other than a floor may have any value.
    assert!(!without(&[]).reasons().iter().any(|reason| reason.contains("hot_4k_vs_pread")));
}

#[test]
fn what_is_missing_breaks() {
    for figure in figures() {
        breaks(&without(&[figure.name]), &format!("missing: {}", figure.name));
    }
    assert_eq!(figures().count(), 26);
}

#[test]
fn what_is_no_number_or_twice_breaks() {
    let mut report = full();
    report.number("extra", f64::NAN);
    breaks(&report, "extra: not a number");
    assert!(object(&report)["extra"].is_null());
    for name in ["cold_4k_us", "seq_ratio_samples", "commit"] {
        let mut report = full();
        report.number(name, 1.0);
        breaks(&report, "given twice");
    }
    let mut report = full();
    report.latencies("melv, hot", Vec::new());
    breaks(&report, "series melv, hot: empty");
    let mut report = full();
    report.broken("the machine slept".into());
    breaks(&report, "the machine slept");
    breaks(&Report::of(15, Facts::default()), "git");
}

#[test]
fn limits_go_with_machine_and_disks() {
    let limits = |report: &Report, name: &str| object(report)["limits"][name].clone();
    let bare = without(&[]);
    assert_eq!(limits(&bare, "cold_4k_us"), serde_json::json!({"must": 50.0, "aim": 30.0}));
    assert_eq!(limits(&bare, "open_ms"), serde_json::json!({"must": 5.0, "aim": null}));
    let mut scaled = without(&[]);
    scaled.floor("decode_32k_us", 18.0);
    scaled.number("unique_mib", 2164.0);
    assert_eq!(limits(&scaled, "cold_4k_us"), serde_json::json!({"must": 25.0, "aim": 15.0}));
    assert_eq!(limits(&scaled, "stored_mib"), serde_json::json!({"must": 900.0, "aim": 836.0}));
    assert_eq!(limits(&scaled, "hot_4k_vs_pread"), serde_json::json!({"must": 0.7, "aim": 0.55}));
    let verdict = |report: &Report| {
        let groups = groups(report);
        let mut rows = groups.iter().flat_map(|group| &group.rows);
        rows.find(|row| row.name == "cold_4k_us").unwrap().verdict
    };
    assert_eq!((verdict(&bare), verdict(&scaled)), (Verdict::Ok, Verdict::Short));
    assert!(!scaled.is_broken());
}

#[test]
fn the_table_says_what_is_short() {
    let report = full();
    let text = table::text(&rows::groups(&report), &[]);
    let line = |name: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("cold_4k_us"), "cold_4k_us 41.2 40 ≤ 55 ≤ 33 ok");
    assert_eq!(line("seq_full_ratio"), "seq_full_ratio 0.910 1.000 ≥ 0.95 ≥ 0.98 short");
    assert_eq!(line("open_bytes"), "open_bytes 139264 ≤ 1048576 ok");
    assert_eq!(line("floor_decode_32k_us"), "floor_decode_32k_us 39.6");
    let missing = table::text(&rows::groups(&without(&["open_ms"])), &["why".into()]);
    assert!(missing.contains("missing") && missing.ends_with("broken: why\n"));
}

#[test]
fn numbers_as_readers_like_them() {
    assert_eq!(numbers::grouped("1048576"), "1\u{202f}048\u{202f}576");
    assert_eq!(numbers::grouped("-12345.5"), "-12\u{202f}345.5");
    assert_eq!(numbers::grouped("1048"), "1048");
    assert_eq!(numbers::duration(999.9), "1 µs");
    assert_eq!(numbers::duration(41_234.0), "41.2 µs");
    assert_eq!(numbers::duration(2e9), "2 s");
}

#[test]
fn the_page_needs_nothing_else() {
    let page = html::page(&full());
    for outside in ["http", "<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn text_is_escaped() {
    let mut report = full();
    report.text("note", "<script>alert('a')</script>");
    report.number("<b>", 1.0);
    report.broken("a < b & \"c\"".into());
    report.latencies("<i>", vec![100; 10]);
    let page = html::page(&report);
    assert!(page.contains("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;"));
    assert!(page.contains("a &lt; b &amp; &quot;c&quot;"));
    for raw in ["<script", "<b>", "<i>"] {
        assert!(!page.contains(raw), "{raw}");
    }
}

#[test]
fn files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    // MELV_REPORT=some/folder keeps the files for a look.
    let path = env::var_os("MELV_REPORT").map_or(folder.path().join("made"), PathBuf::from);
    full().write(&path).unwrap();
    for name in ["latency", "threads", "frontier"] {
        let svg = std::fs::read_to_string(path.join(format!("report-{name}.svg"))).unwrap();
        assert_eq!(svg.matches("http").count(), 1, "the namespace");
        assert!(!svg.contains("var("), "colours are written out");
    }
    assert!(path.join("report.html").exists() && path.join("report.json").exists());
    // An empty report can be written too.
    Report::new(0).write(&folder.path().join("empty")).unwrap();
}
