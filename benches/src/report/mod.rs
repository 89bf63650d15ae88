//! The report of one run of the benches: figures, floors, paired ratios and plots are put in, and
//! `report.json`, a page that needs nothing else, three plots as files and a table come out.
//!
//! A report judges itself. It is *broken* where its figures cannot be trusted: too few samples, a ratio
//! that beats its floor (then the floor is wrong), a figure missing, given twice or no number. A figure
//! that is worse than it must be is *short*: bad news, but news.
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
