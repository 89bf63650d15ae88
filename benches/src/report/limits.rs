//! The figures that a report must have, each with its limit and aim.

/// The better direction of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better: times, sizes.
    Lower,
    /// More is better: throughput.
    Higher,
}

/// A figure of the report, with its limits for the machine and disks they were set on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub better: Better,
    must: Option<f64>,
    aim: Option<f64>,
    /// A field of the report and its value at the time the limits were set: the limits scale with it.
    goes_with: Option<(&'static str, f64)>,
}

/// The limit and the aim of a figure in this report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    pub must: Option<f64>,
    pub aim: Option<f64>,
}

const MIB: f64 = 1_048_576.0;

/// Every figure that a report must have, by topic.
pub(super) const GROUPS: &[(&str, &[Figure])] = &[
    (
        "Cold and hot reads",
        &[
            less("cold_4k_us", "cold read of 4 KiB", "µs")
                .limits(50.0, 30.0)
                .with("floor_decode_32k_us", 36.0),
            less("cold_4k_ratio", "its time over its floor", "").limits(1.10, 1.04),
            less("cold_4k_full_us", "full cold read of 4 KiB", "µs"),
            less("cold_4k_full_ratio", "its time over its floor", "").limits(1.10, 1.04),
            less("hot_4k_ns", "hot read of 4 KiB", "ns"),
            less("hot_4k_vs_pread", "its time over that of pread", "").limits(0.70, 0.55),
            less("boot_replay_cpu_ms", "CPU of a boot's reads", "ms").limits(90.0, 50.0),
        ],
    ),
    (
        "Sequential reads",
        &[
            more("seq_mbps", "sequential read", "MB/s"),
            more("seq_ratio", "its throughput over its floor", "").limits(0.95, 0.98),
            more("seq_full_ratio", "full sequential read over its floor", "").limits(0.95, 0.98),
            more("seq_scaling_ratio", "scaling over threads", "").limits(0.93, 0.98),
            less("seq_decode_amplification", "bytes decoded for bytes read", "").limits(1.15, 1.05),
        ],
    ),
    (
        "Import",
        &[
            more("import_unique_mbps", "import of new data", "MB/s"),
            more("import_unique_ratio", "its throughput over its floor", "").limits(0.88, 0.95),
            more("import_shared_mbps", "import of known data", "MB/s"),
            more("import_shared_ratio", "its throughput over its floor", "").limits(0.80, 0.92),
        ],
    ),
    (
        "Opening",
        &[
            less("open_ms", "opening an image", "ms").must(5.0),
            less("open_reads", "reads for it", "").must(3.0),
            less("open_bytes", "bytes read for it", "B").must(MIB),
            less("lookup_64_ratio", "lookup after 64 generations over a flat image", "").must(1.1),
        ],
    ),
    (
        "Usage and memory",
        &[
            less("stored_mib", "stored, all disks", "MiB").limits(450.0, 418.0).with("unique_mib", 1082.0),
            less("map_mib_per_tib", "map for a TiB of data", "MiB"),
            less("index_ram_mib_per_tib", "memory of the index for a TiB", "MiB").limits(400.0, 250.0),
            more("index_lookup_gbps", "index lookups, in data", "GB/s").must(1.0),
            less("index_sharing_lost_percent", "sharing that the index loses", "%").limits(2.0, 0.0),
            less("rss_100_images_mib", "memory of 100 open images, cache of 64 MiB", "MiB").must(128.0),
        ],
    ),
];

/// Returns every figure of every group.
pub(super) fn figures() -> impl Iterator<Item = &'static Figure> {
    GROUPS.iter().flat_map(|(_, figures)| *figures)
}

const fn less(name: &'static str, title: &'static str, unit: &'static str) -> Figure {
    Figure { name, title, unit, better: Better::Lower, must: None, aim: None, goes_with: None }
}

const fn more(name: &'static str, title: &'static str, unit: &'static str) -> Figure {
    Figure { better: Better::Higher, ..less(name, title, unit) }
}

impl Figure {
    const fn must(self, must: f64) -> Self {
        Self { must: Some(must), ..self }
    }

    const fn limits(self, must: f64, aim: f64) -> Self {
        Self { must: Some(must), aim: Some(aim), ..self }
    }

    const fn with(self, field: &'static str, there: f64) -> Self {
        Self { goes_with: Some((field, there)), ..self }
    }

    /// Returns the limits in a report whose fields `value` looks up.
    pub fn limits_in(&self, value: impl Fn(&str) -> Option<f64>) -> Limits {
        let factor =
            self.goes_with.and_then(|(field, there)| Some(value(field)? / there)).filter(|f| f.is_finite());
        let scaled = |limit: f64| limit * factor.unwrap_or(1.0);
        Limits { must: self.must.map(scaled), aim: self.aim.map(scaled) }
    }
}

impl Better {
    /// Whether a figure is as good as a limit. NaN is not.
    pub fn meets(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Lower => value <= limit,
            Self::Higher => value >= limit,
        }
    }

    /// Returns the sign written in front of a limit.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Lower => "≤",
            Self::Higher => "≥",
        }
    }
}
