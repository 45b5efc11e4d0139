//! What README.md shows works: its examples are run against a real server, and each of its commands exists.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::{Log, lotline};
use serde_json::{Value, json};

use crate::site::{Plant, SITE};
use crate::tools::{said, tool};
use crate::visitor::House;

const README: &str = include_str!("../../../README.md");
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the README says that the server is.
const THERE: &str = "http://127.0.0.1:8080";
/// Where the README has the link of the first administrator.
const LINK: &str = "lotline_link_….…";
/// What is run as it stands; the others either go on for ever or change where the log is.
const HARMLESS: [&str; 5] = ["migrate", "doctor", "log stats", "config", "log tail -n 20"];

/// The fenced blocks that are marked with a word behind the language, such as "sh example".
fn blocks(mark: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in README.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, Some(info)) if info == format!("sh {mark}") => open = Some(String::new()),
            (None, _) => {}
        }
    }
    found
}

/// A script in a process group of its own, which ends with this.
struct Script {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Script {
    fn start(text: &str) -> Self {
        let mut child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", text])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash starts");
        let output = Arc::new(Mutex::new(String::new()));
        let (mut stdout, seen) = (child.stdout.take().expect("the output is piped"), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, output }
    }

    fn printed(&self) -> String {
        self.output.lock().unwrap().clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The curl of a subscription goes on until it is told not to.
        drop(Command::new("kill").args(["--", &format!("-{}", self.child.id())]).stderr(Stdio::null()).status());
        drop(self.child.wait());
    }
}

/// Runs an example to its end, or until its subscription has brought an item.
async fn run(text: &str, ann: &Client) -> String {
    let mut script = Script::start(text);
    let until = Instant::now() + PATIENCE;
    loop {
        let printed = script.printed();
        if text.contains("subscription") {
            if printed.contains("lotChanged") {
                return printed;
            }
            // The item that it waits for.
            ann.mutate("registerLot", "", &lot(SITE, &key().to_string(), "1", &[])).await;
        }
        if let Some(status) = script.child.try_wait().unwrap() {
            assert!(status.success(), "{text}\nended with {status} and:\n{printed}");
            if !text.contains("subscription") && !printed.is_empty() {
                return printed;
            }
        }
        assert!(Instant::now() < until, "{text}\nhas printed only:\n{printed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_examples_of_the_readme_work() {
    let plant = Plant::new("readme", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "1", &[])).await;
    let examples = blocks("example");
    assert!(examples.len() >= 2, "the README has examples");
    for example in examples {
        assert!(example.contains(THERE), "{example}");
        let printed = run(&example.replace(THERE, &server.url), &ann).await;
        assert!(!printed.contains("\"errors\""), "{example}\n{printed}");
        let first: Option<Result<Value, _>> = serde_json::Deserializer::from_str(&printed).into_iter().next();
        let data = first.expect("something was printed").expect("an answer is JSON")["data"].take();
        let answered = data.as_object().and_then(|data| data.values().next()).is_some_and(|value| !value.is_null());
        assert!(answered, "{example}\n{printed}");
        if example.contains("userErrors") {
            assert!(printed.contains("\"userErrors\":[]"), "{example}\n{printed}");
        }
    }
}

#[tokio::test]
async fn the_quick_start_of_signing_in_works() {
    let house = House::new("readme-door").await;
    let link = house.link().await;
    let text = blocks("sign-in").concat();
    assert!(text.contains(THERE) && text.contains(LINK), "{text}");
    let script = text.replace(THERE, &house.server.url).replace(LINK, &link);
    let done = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().expect("bash starts");
    let printed = said(&done);
    let answers: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&printed).into_iter().collect();
    let mut answers = answers.unwrap_or_else(|error| panic!("{error}: {printed}"));
    for answer in answers.iter_mut().filter_map(Value::as_object_mut) {
        answer.remove("extensions");
    }
    let everywhere = json!({ "memberships": [{ "roles": ["ADMIN"] }] });
    let me = json!({ "data": { "tenant": house.plant.settings.tenant, "sites": [SITE], "me": everywhere } });
    let ended = json!({ "ended": 1 });
    assert_eq!(answers, [&me, &ended, &me, &ended].map(Value::clone), "{script}");
}

#[tokio::test]
async fn the_commands_of_the_readme_exist() {
    let plant = Plant::new("commands", Log::Postgres).await;
    let _server = plant.serve().await;
    let text = blocks("commands").concat();
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("lotline "))
        .map(|line| line.split('#').next().unwrap_or(line).trim())
        .collect();
    assert!(commands.len() > 6, "{text}");
    for command in &commands {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let output = lotline(&plant.settings).args(&words).output().expect("the lotline binary starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for harmless in HARMLESS {
        assert!(commands.contains(&harmless), "the README shows `lotline {harmless}`");
        said(&tool(&plant, &harmless.split(' ').collect::<Vec<_>>()));
    }
}
