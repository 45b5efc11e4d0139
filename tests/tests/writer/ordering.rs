//! Time, sequences and what one stream knows of another.

use lotline_adapters::log::memory::MemoryLog;
use lotline_domain::command::CommandRequest;
use lotline_domain::id::StreamKey;
use lotline_domain::partition::partition_of;
use lotline_domain::port::Clock;

use crate::stand::{MINUTE, Stand, draft, register, site};

#[tokio::test]
async fn time_in_the_log_does_not_go_back_when_the_clock_does() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let start = stand.clock.now();
    process.accepted(stand.request(register("M1"))).await;
    stand.clock.forward(-MINUTE);
    process.accepted(stand.request(register("M2"))).await;
    process.stop().await;
    let restarted = stand.serve().await;
    restarted.accepted(stand.request(register("M3"))).await;
    stand.clock.forward(3 * MINUTE);
    restarted.accepted(stand.request(register("M4"))).await;
    let times: Vec<_> = stand.events(0).await.iter().map(|(envelope, _)| envelope.attributes.time).collect();
    assert_eq!(times, [start, start, start, start.plus_micros(2 * MINUTE)]);
    restarted.stop().await;
}

#[tokio::test]
async fn streams_in_one_partition_have_sequences_of_their_own() {
    let stand = Stand::new();
    let process = stand.serve().await;
    for number in 1..=3 {
        let mut south = stand.request(register(&format!("M{number}")));
        south.stream = site("south");
        assert_eq!(process.accepted(south).await.version, number);
        assert_eq!(process.accepted(stand.request(register(&format!("M{number}")))).await.version, number);
        assert_eq!(process.accepted(stand.request(draft(&format!("p{number}")))).await.version, number);
    }
    let fold = stand.fold(0).await;
    let sequences: Vec<_> = fold.chain.heads().iter().map(|(key, head)| (key.as_str(), head.sequence)).collect();
    assert_eq!(sequences, [("_tenant", 3), ("north", 3), ("south", 3)]);
    process.stop().await;
}

#[tokio::test]
async fn a_sites_event_knows_the_tenant_events_before_it() {
    let mut apart = 0;
    for partitions in 1..=6 {
        let stand = Stand::on(MemoryLog::new("lotline.dairy.ledger.v1", partitions));
        let home = |key: &str| partition_of(key, partitions);
        apart += u32::from(home("south") != home(StreamKey::Tenant.as_str()));
        let process = stand.serve().await;
        for number in 1..=3_u64 {
            process.accepted(south(&stand, &format!("A{number}"))).await;
            process.accepted(stand.request(draft(&format!("p{number}")))).await;
            process.accepted(south(&stand, &format!("B{number}"))).await;
        }
        process.stop().await;
        let restarted = stand.serve().await;
        restarted.accepted(south(&stand, "C")).await;
        let events = stand.events(home("south")).await;
        let known: Vec<_> = events
            .iter()
            .filter(|(envelope, _)| envelope.attributes.stream == site("south"))
            .map(|(envelope, _)| envelope.attributes.tenant_sequence)
            .collect();
        assert_eq!(known, [0, 1, 1, 2, 2, 3, 3].map(Some), "{partitions} partitions");
        let own = stand.events(home(StreamKey::Tenant.as_str())).await;
        let mut own = own.iter().filter(|(envelope, _)| envelope.attributes.stream == StreamKey::Tenant);
        assert!(own.all(|(envelope, _)| envelope.attributes.tenant_sequence.is_none()));
        restarted.stop().await;
    }
    assert!((1..=5).contains(&apart), "the streams share a partition here and not there: {apart}");
}

fn south(stand: &Stand, code: &str) -> CommandRequest {
    CommandRequest { stream: site("south"), ..stand.request(register(code)) }
}
