//! The outputs of a report: files in a folder, and text.

use std::path::Path;
use std::{fs, io};

use super::record::Report;
use super::{html, json, plot, rows, table};

impl Report {
    /// Writes `report.json`, `report.html` and the plots `report-latency.svg`, `report-threads.svg` and
    /// `report-frontier.svg` into a folder, which is made where it lacks.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("report.json"), json::text(self))?;
        fs::write(folder.join("report.html"), html::page(self))?;
        for plot in plot::all(self) {
            fs::write(folder.join(format!("report-{}.svg", plot.name)), plot.svg.file())?;
        }
        Ok(())
    }

    /// Prints every figure beside its floor and limits, and why the report is broken if it is.
    pub fn print(&self) {
        print!("{}", table::text(&rows::groups(self), &self.reasons()));
    }
}
