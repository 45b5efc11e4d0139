//! The end of a process: in time, and honest about what did not stop.

use std::time::Duration;

use lotline_tests::client::{Client, lot};
use lotline_tests::server::Log;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{self, Plant, SITE};

/// Much longer than the server's own deadline.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn who_does_not_stop_in_time_is_named_and_the_exit_code_says_so() {
    let mut plant = Plant::new("unwilling", Log::Postgres).await;
    let forever = ("LOTLINE_API__LIMITS__BODY_TIMEOUT_MS".into(), "3600000".into());
    plant.settings.environment.push(forever);
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let told = ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;

    // A request whose second half never comes, from a server that was told to wait for it.
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let mut half = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nx-lotline-actor: ann\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: 100\r\n\r\n"
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // Whoever asks to continue is told so once the server waits for the rest.
    let mut word = [0; 12];
    let continued = tokio::time::timeout(PATIENCE, half.read_exact(&mut word));
    continued.await.expect("the server answers").unwrap();
    assert_eq!(&word, b"HTTP/1.1 100");

    let status = server.ended(PATIENCE).await.unwrap_or_else(|| panic!("it does not end:\n{}", server.printed()));
    let printed = server.printed();
    assert_eq!(status.code(), Some(1), "{printed}");
    let last = printed.lines().last().unwrap_or_default();
    assert_eq!(last, "lotline: not stopped within 10 s and left behind: the HTTP server", "{printed}");
    drop(half);

    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    assert_eq!(site::lot(&ann, "L-1", &told["position"]).await["code"], "L-1", "what was acknowledged is there");
    let status = server.ended(PATIENCE).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.printed());
}
