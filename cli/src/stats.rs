//! The statistics of a front end, for people and for programs. They go to standard error, since standard
//! output is for requested data.

use melv::Cache;
use melv_serve::Catalog;
use serde_json::json;

use crate::log::note;
use crate::units::human;

/// Prints the statistics of `catalog` and `cache`.
pub fn print(catalog: &Catalog, cache: &Cache, is_json: bool) {
    let counts = catalog.counters().counts();
    if is_json {
        let statistics = json!({
            "requests": counts.requests,
            "bytes": counts.bytes,
            "hits": counts.hits,
            "errors": counts.errors,
            "verification_failures": counts.verification_failures,
            "decodes": cache.decoded_chunks(),
            "decoded_bytes": cache.decoded_bytes(),
            "cache_bytes": cache.bytes(),
            "cache_bytes_max": cache.bytes_max(),
        });
        return note(&statistics.to_string());
    }
    note(&format!(
        "melv: {} requests ({}), {} from the cache alone, {} failed ({} verification failures); \
         {} chunks decoded ({}); cache {} of {}",
        counts.requests,
        human(counts.bytes),
        counts.hits,
        counts.errors,
        counts.verification_failures,
        cache.decoded_chunks(),
        human(cache.decoded_bytes()),
        human(cache.bytes()),
        human(cache.bytes_max()),
    ));
}
