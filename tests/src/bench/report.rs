//! Prints figures and keeps them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use lotline_domain::timestamp::Timestamp;

/// The figures of one run.
pub struct Report {
    only: String,
    lines: Vec<String>,
    file: PathBuf,
    head: String,
}

impl Report {
    /// A report of figures whose names begin with `only`, or of all when it is empty.
    pub fn new(only: &str, now: Timestamp) -> Self {
        let machine = machine();
        let day = now.to_string()[..10].to_owned();
        let head = format!("# {now}\n# {machine}\n# {}\n", commit());
        let name = if only.is_empty() { "all" } else { only.trim_end_matches('.') };
        Self {
            only: only.to_owned(),
            lines: Vec::new(),
            file: PathBuf::from(format!("results/{day}-{name}.txt")),
            head,
        }
    }

    /// Whether any figure under this prefix was asked for.
    pub fn wants(&self, prefix: &str) -> bool {
        prefix.starts_with(&self.only) || self.only.starts_with(prefix)
    }

    /// Prints a figure. `ratio` is against the raw probe of the same run.
    pub fn result(&mut self, name: &str, value: f64, unit: &str, ratio: Option<f64>) {
        if !name.starts_with(&self.only) {
            return;
        }
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        self.line(format!("RESULT {name} {value:.2} {unit} {ratio}"));
    }

    /// Prints a remark that belongs to the figures.
    pub fn note(&mut self, text: &str) {
        self.line(format!("# {text}"));
    }

    fn line(&mut self, line: String) {
        let mut out = std::io::stdout().lock();
        // A closed standard output must not keep the figures from the file.
        drop(writeln!(out, "{line}"));
        self.lines.push(line);
    }

    /// Writes the results file and gives its path.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self) -> anyhow::Result<PathBuf> {
        fs::create_dir_all("results").context("the folder results can't be made")?;
        let text = format!("{}{}\n", self.head, self.lines.join("\n"));
        fs::write(&self.file, text).with_context(|| format!("{} can't be written", self.file.display()))?;
        Ok(self.file.clone())
    }
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown cpu");
    let memory = read("/proc/meminfo");
    let total = memory.lines().next().unwrap_or("MemTotal: unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores,{}, {}", model.trim_start_matches([' ', '\t', ':']), total.replace("       ", " "))
}

fn commit() -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map_or_else(|_| "unknown commit".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
