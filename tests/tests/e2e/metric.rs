//! What a server says of itself in `/metrics`.

use std::time::{Duration, Instant};

use lotline_tests::server::Server;

use crate::load::PATIENCE;

/// The sum of all series whose lines begin so: nothing is 0, and so is a server that does not answer.
pub(crate) async fn metric(server: &Server, beginning: &str) -> f64 {
    let asked = reqwest::Client::new().get(format!("{}/metrics", server.url)).timeout(Duration::from_secs(5));
    let Ok(answer) = asked.send().await else { return 0.0 };
    let Ok(text) = answer.text().await else { return 0.0 };
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() + 0.0
}

/// Waits until it is as wanted, and gives how long that took.
pub(crate) async fn until_metric(server: &Server, beginning: &str, wanted: impl Fn(f64) -> bool) -> Duration {
    let began = Instant::now();
    loop {
        let value = metric(server, beginning).await;
        if wanted(value) {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{beginning} is {value}\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a node says that it writes so many of four partitions, which it does every few seconds, and gives them.
pub(crate) async fn written_by(server: &Server, wanted: usize) -> Vec<u32> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut written = Vec::new();
        for partition in 0..4 {
            let series = format!("lotline_writer_status{{partition=\"{partition}\",status=\"serving\"}}");
            if metric(server, &series).await > 0.5 {
                written.push(partition);
            }
        }
        if written.len() == wanted {
            return written;
        }
        assert!(Instant::now() < until, "writes {written:?}, not {wanted}:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
