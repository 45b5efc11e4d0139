//! The playground as somebody at a browser has it: its own page and scripts, run by Node.js in `tests/node/browser.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

/// A page that is open. It closes when dropped.
pub struct Playground {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What a step has led to.
#[derive(Debug)]
pub struct Seen(Value);

impl Playground {
    /// Opens the page of a server in a browser that has these cookies, written as they are sent.
    ///
    /// # Panics
    /// When it can't be loaded, or Node.js can't be installed.
    pub fn open(server: &str, cookies: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Installs Node.js where it is missing, for the provider of single sign-on; the page needs no more.
        let fetched = Command::new(here.join("../infra/dev/provider/serve")).arg("--fetch").status();
        assert!(fetched.is_ok_and(|status| status.success()), "Node.js is not there");
        let script = here.join("node/browser.mjs");
        let mut command = Command::new("node");
        let command = command.arg("--no-warnings").arg(script).args([server, cookies]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Node.js starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("standard output is piped"));
        let mut playground = Self { process, input, output };
        assert_eq!(playground.line(), "loaded", "the page can't be loaded; its complaint is in the test's output");
        playground
    }

    /// Does what `browser.mjs` says a step is.
    ///
    /// # Panics
    /// When the page has failed.
    pub fn step(&mut self, step: &Value) -> Seen {
        let input = self.input.as_mut().expect("only dropping closes it");
        writeln!(input, "{step}").expect("the browser reads");
        Seen(serde_json::from_str(&self.line()).unwrap_or_else(|error| panic!("after {step}: {error}")))
    }

    /// What is to be seen now.
    pub fn look(&mut self) -> Seen {
        self.step(&json!({}))
    }

    /// Presses a button or a form's, and waits until something is to be seen.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn press(&mut self, button: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        self.step(&json!({ "press": [button] }));
        self.until(wanted).await
    }

    /// Waits until something is to be seen.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn until(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.look();
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < until, "not to be seen: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Signs in by the page's form.
    ///
    /// # Panics
    /// When nobody is greeted.
    pub async fn sign_in(&mut self, email: &str, password: &str) -> Seen {
        self.step(&json!({ "type": { "email": email, "password": password } }));
        self.press("sign-in", |seen| seen.text("status") == "signed in" && !seen.is_hidden("signed-in")).await
    }

    /// Runs one of the page's examples to its answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn run(&mut self, example: &str) -> Seen {
        self.step(&json!({ "choose": example }));
        self.press("run", |seen| seen.text("status").contains(" ms ")).await
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the browser writes text");
        line.trim_end().to_owned()
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.process.wait());
    }
}

impl Seen {
    /// The text of an element.
    pub fn text(&self, id: &str) -> &str {
        self.0["shown"][id]["textContent"].as_str().unwrap_or_else(|| panic!("the page has no element '{id}'"))
    }

    /// What stands in a field.
    pub fn value(&self, id: &str) -> &str {
        self.0["shown"][id]["value"].as_str().unwrap_or_else(|| panic!("the page has no field '{id}'"))
    }

    /// Whether an element is hidden.
    pub fn is_hidden(&self, id: &str) -> bool {
        self.0["shown"][id]["hidden"].as_bool().unwrap_or_else(|| panic!("the page has no element '{id}'"))
    }

    /// The answer that the page shows, as JSON; null when it shows none.
    pub fn result(&self) -> Value {
        serde_json::from_str(self.text("result")).unwrap_or_default()
    }

    /// The code of the error that the page shows.
    pub fn code(&self) -> String {
        self.result()["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
    }

    /// All requests so far, as `POST /graphql 200`; without a status those that are open.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.0["asked"].as_array().into_iter().flatten();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        asked.map(|one| format!("{} {} {}", text(one, "method"), text(one, "path"), one["status"])).collect()
    }

    /// The names of the last request's headers.
    pub fn last_headers(&self) -> Vec<&str> {
        let last = self.0["asked"].as_array().and_then(|asked| asked.last());
        last.and_then(|last| last["headers"].as_array()).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The variables of the last request's operation.
    pub fn last_variables(&self) -> Value {
        self.0["asked"]
            .as_array()
            .and_then(|asked| asked.last())
            .map(|last| last["variables"].clone())
            .unwrap_or_default()
    }

    /// The browser's cookies, as they are sent.
    pub fn cookies(&self) -> &str {
        self.0["cookies"].as_str().unwrap_or_default()
    }
}
