//! Queries that no client waits for.

use super::*;

async fn refresh(forward: &Arc<Forward>) -> Result<(Rcode, Vec<u8>), String> {
    let mut query = query("www.example.com", Transport::Tcp);
    query.is_background = true;
    ask_for(forward, query).await
}

#[tokio::test]
async fn a_query_without_a_client_goes_over_tcp_only_where_it_must() {
    let whole = |seen: &Seen| vec![Act::Say(seen.answer(1))];
    let cutting = |seen: &Seen| {
        let mut reply = seen.answer(1);
        if seen.transport == Transport::Udp {
            reply[2] |= (flag::TC >> 8) as u8;
        }
        vec![Act::Say(reply)]
    };
    let without_tcp = |seen: &Seen| match seen.transport {
        Transport::Udp => vec![Act::Say(seen.answer(1))],
        Transport::Tcp => vec![Act::Close],
    };
    use Transport::{Tcp, Udp};
    type Script = fn(&Seen) -> Vec<Act>;
    let rows: [(&str, &str, Script, &[Transport]); 5] = [
        ("it fits a datagram", "", whole, &[Udp]),
        ("it is cut", "", cutting, &[Udp, Tcp]),
        ("TCP is filtered", "", without_tcp, &[Udp]),
        ("UDP is preferred", "prefer_udp", cutting, &[Udp, Tcp]),
        ("TCP is wanted", "force_tcp", whole, &[Tcp]),
    ];
    for (fact, property, script, over) in rows {
        let upstream = FakeUpstream::start(script).await;
        let to = upstream.address;
        let forward = forward(&format!("forward . {to} {{\n{property}\n}}"));
        assert_eq!(refresh(&forward).await, good(1), "{fact}");
        let seen: Vec<Transport> = upstream.seen().iter().map(|seen| seen.transport).collect();
        assert_eq!(seen, over, "{fact}");
    }
}
