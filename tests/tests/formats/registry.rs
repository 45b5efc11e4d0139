//! Registration in a real Apicurio Registry, which `infra/dev/registry/serve` fetches, starts and stops.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use lotline_domain::event::EVENT_TYPES;
use lotline_domain::sample::codec::{self, BATCH_TYPE};
use lotline_infra::formats::registry::{Outcome, Registry, RegistryError, Subject, subjects};
use lotline_tests::server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::root;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A registry with nothing in it. It ends when its standard input does, so also when this process dies.
struct Apicurio {
    process: Child,
    input: Option<ChildStdin>,
    url: String,
}

impl Apicurio {
    fn start() -> Self {
        let mut process = Command::new(root("infra/dev/registry/serve"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script of the registry starts");
        let input = process.stdin.take();
        let mut url = String::new();
        let output = process.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut url).expect("the script writes text");
        let url = url.trim().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "the registry did not start; what the script said stands above");
        Self { process, input, url }
    }

    fn client(&self) -> Registry {
        Registry::new(&self.url, None, TIMEOUT).expect("a client")
    }

    /// Asks for a compatibility level, as the registry's operator would.
    async fn set_level(&self, subject: &str, level: &str) {
        let request = reqwest::Client::new().put(format!("{}/config/{subject}", self.url));
        let answer = request.json(&json!({ "compatibility": level })).timeout(TIMEOUT).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    fn command(&self) -> Output {
        let mut command = Command::new(server::binary());
        command.args(["formats", "register", "--registry", &self.url]).output().expect("the binary starts")
    }
}

impl Drop for Apicurio {
    fn drop(&mut self) {
        drop(self.input.take());
        self.process.wait().expect("the script of the registry ends");
    }
}

fn edited(subject: &Subject, edit: impl FnOnce(&mut Value)) -> Subject {
    let mut schema: Value = serde_json::from_str(&subject.schema).unwrap();
    edit(&mut schema["$defs"]["LotRegistered"]);
    Subject { schema: schema.to_string(), ..subject.clone() }
}

/// One server for all that it is asked, for a start takes seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn formats_are_registered_once_and_guarded_from_then_on() {
    let apicurio = Apicurio::start();
    let registry = apicurio.client();
    let all = subjects();
    assert_eq!(all.len(), EVENT_TYPES.len() + 1);
    in_the_way(&apicurio, &registry).await;

    let first = registry.register(&all).await.unwrap();
    for ((name, outcome), subject) in first.iter().zip(&all) {
        let Outcome::Registered { id } = *outcome else { panic!("{name}: {outcome:?}") };
        assert_eq!(registry.schema(id).await.unwrap(), subject.schema, "{name}");
    }
    let listed: Vec<String> = reqwest::get(format!("{}/subjects", apicurio.url)).await.unwrap().json().await.unwrap();
    assert!(all.iter().all(|subject| listed.contains(&subject.name)) && listed.len() == all.len(), "{listed:?}");

    let again = registry.register(&all).await.unwrap();
    for ((_, before), (name, now)) in first.iter().zip(&again) {
        let Outcome::Registered { id } = *before else { unreachable!("seen above") };
        assert_eq!(*now, Outcome::Unchanged { id }, "{name}");
    }
    let output = apicurio.command();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.lines().count() == all.len(), "{output:?}");
    assert!(said.lines().all(|line| line.contains(": already there with id ")), "{said}");

    evolution(&apicurio, &registry, &all).await;
    protobuf(&apicurio, &registry, &all).await;
}

/// Somebody's other schema under one of the names: the command says which, and leaves everything as it was.
async fn in_the_way(apicurio: &Apicurio, registry: &Registry) {
    let name = "lotline.pipeline.archived.v1";
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": { "data": { "type": "string" } },
    });
    let foreign = Subject { name: name.to_owned(), schema_type: "JSON", schema: schema.to_string() };
    registry.register(&[foreign]).await.unwrap();
    apicurio.set_level(name, "FORWARD").await;
    let output = apicurio.command();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("incompatible") && said.contains(name), "{said}");
    let subjects = format!("{}/subjects", apicurio.url);
    let listed: Vec<String> = reqwest::get(&subjects).await.unwrap().json().await.unwrap();
    assert_eq!(listed, [name]);
    let deleted = reqwest::Client::new().delete(format!("{subjects}/{name}")).send().await.unwrap();
    assert!(deleted.status().is_success(), "{deleted:?}");
}

/// A new optional field is a new version; a removed one leaves the registry as it was, and so does everything in its company.
async fn evolution(apicurio: &Apicurio, registry: &Registry, all: &[Subject]) {
    let lot = all.iter().find(|subject| subject.name == "lotline.lot.registered.v1").unwrap();
    apicurio.set_level(&lot.name, "FORWARD").await;
    let wider = edited(lot, |data| data["properties"]["colour"] = json!({ "type": "string" }));
    let outcome = registry.register(std::slice::from_ref(&wider)).await.unwrap();
    assert!(matches!(outcome[..], [(_, Outcome::Registered { .. })]), "{outcome:?}");

    let stranger = Subject { name: "lotline.lot.painted.v1".to_owned(), ..wider.clone() };
    let narrower = edited(lot, |data| {
        data["properties"].as_object_mut().unwrap().remove("code");
        data["required"].as_array_mut().unwrap().retain(|name| name != "code");
    });
    let refused = registry.register(&[stranger.clone(), narrower]).await;
    let Err(RegistryError::Incompatible(found)) = refused else { panic!("{refused:?}") };
    assert_eq!(found.iter().map(|found| found.subject.as_str()).collect::<Vec<_>>(), [lot.name.as_str()]);
    let versions = reqwest::get(format!("{}/subjects/{}/versions", apicurio.url, stranger.name)).await.unwrap();
    assert_eq!(versions.status(), 404, "nothing was registered beside the refused one");
}

async fn protobuf(apicurio: &Apicurio, registry: &Registry, all: &[Subject]) {
    let batch = all.iter().find(|subject| subject.name == BATCH_TYPE).unwrap();
    assert_eq!(batch.schema, codec::PROTO);
    apicurio.set_level(BATCH_TYPE, "BACKWARD").await;
    let changed = Subject { schema: batch.schema.replace("uint64 sequence", "string sequence"), ..batch.clone() };
    let refused = registry.register(&[changed]).await;
    assert!(matches!(refused, Err(RegistryError::Incompatible(_))), "{refused:?}");
}

/// What goes over the wire with a password, seen by a peer that turns everybody away.
#[tokio::test]
async fn a_login_is_sent_and_its_refusal_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/apis/ccompat/v7/", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ends too early");
        }
        let answer = "{\"error_code\":401,\"message\":\"who are you?\"}";
        let head =
            format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
        stream.write_all((head + answer).as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request).to_lowercase()
    });
    let registry = Registry::new(&url, Some(("ann".into(), "pw".into())), TIMEOUT).unwrap();
    let error = registry.register(&subjects()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }) && error.to_string().contains("401"), "{error}");
    assert!(error.to_string().ends_with("who are you?"), "{error}");
    let request = peer.await.unwrap();
    let subject = &subjects()[0].name;
    assert!(request.starts_with(&format!("post /apis/ccompat/v7/subjects/{subject} http/1.1")), "{request}");
    assert!(request.contains("authorization: basic yw5uonb3"), "{request}");
    assert!(request.contains("content-type: application/vnd.schemaregistry.v1+json"), "{request}");
}

#[tokio::test]
async fn a_registry_that_is_none_is_told_from_one_that_refuses() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:s3cret@{}", silent.local_addr().unwrap());
    let registry = Registry::new(&url, None, Duration::from_millis(300)).unwrap();
    let error = registry.register(&subjects()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    for url in ["", "registry", "ftp://host", "mailto:a@b", "http://user:s3cret@"] {
        let Err(error) = Registry::new(url, None, TIMEOUT) else { panic!("{url} is an address") };
        assert!(matches!(error, RegistryError::Url(_)) && !error.to_string().contains("s3cret"), "{error}");
    }
}
