//! The report of one run of the benches. Takes figures, floors, paired ratios and plots; writes
//! `report.json`, a self-contained page, three plots as files, and a table.
//!
//! A report judges itself. It is *broken* if its figures cannot be trusted. Reasons are too few samples, a
//! ratio that beats its floor (the floor is wrong), or a figure missing, given twice or not a number. A
//! figure worse than its limit is *short*: bad news, but news.
//!
//! ```text
//! record    what measurements put in               facts   commit, date, machine
//! samples   medians, quantiles, what is credible   limits  the figures, what each must be and should be
//! rows      figures beside floors and limits       numbers how a number is written
//! json, table, html, strip, plot/, write           the outputs
//! ```

mod facts;
mod html;
mod json;
mod limits;
mod numbers;
mod plot;
mod record;
mod rows;
mod samples;
mod strip;
mod table;
mod write;

#[cfg(test)]
mod tests;

pub use limits::Better;
pub use record::{FrontierPoint, Report};
