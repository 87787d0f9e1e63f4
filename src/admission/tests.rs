use std::net::Ipv4Addr;
use std::pin::pin;

use super::*;

const FLOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CALM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn places(admission: &Arc<Admission>, source: IpAddr, count: usize) -> Vec<Place> {
    (0..count)
        .map(|_| admission.enter(source).expect("there is room"))
        .collect()
}

/// Who holds how many when one more comes, whether it may wait, and who loses its oldest place to it.
#[test]
fn a_client_with_far_more_waiting_makes_room_and_nobody_else_does() {
    for (name, of_flood, of_calm, comes, expected) in [
        ("there is room", 8, 1, FLOOD, Ok(None)),
        ("one client has all", 10, 0, CALM, Ok(Some(FLOOD))),
        ("one client has most", 8, 2, CALM, Ok(Some(FLOOD))),
        (
            "one has twice as many as it would be",
            6,
            4,
            CALM,
            Err(Refused::Full),
        ),
        ("both are alike", 5, 5, CALM, Err(Refused::Full)),
        (
            "the heaviest itself comes",
            10,
            0,
            FLOOD,
            Err(Refused::Full),
        ),
        ("the heavier comes", 8, 2, FLOOD, Err(Refused::Full)),
    ] {
        let admission = Admission::new(10);
        let flood = places(&admission, FLOOD, of_flood);
        let calm = places(&admission, CALM, of_calm);
        assert_eq!(admission.refuses(comes), expected.is_err(), "{name}");
        let entered = admission.enter(comes);
        assert_eq!(entered.as_ref().err().copied(), expected.err(), "{name}");
        let lost = |places: &[Place]| {
            places
                .iter()
                .map(Place::is_displaced)
                .collect::<Vec<bool>>()
        };
        let mut flood_lost = vec![false; of_flood];
        if expected == Ok(Some(FLOOD)) {
            flood_lost[0] = true;
        }
        assert_eq!(lost(&flood), flood_lost, "{name}");
        assert_eq!(lost(&calm), vec![false; of_calm], "{name}");
    }
}

#[test]
fn a_client_that_asks_little_waits_whatever_a_flood_does() {
    let admission = Admission::new(100);
    let mut flood: Vec<Place> = places(&admission, FLOOD, 100);
    for round in 0..1_000 {
        let calm = admission.enter(CALM).expect("the flood makes room");
        flood.retain(|place| !place.is_displaced());
        assert_eq!(flood.len(), 99, "round {round}");
        assert_eq!(admission.enter(FLOOD).err(), Some(Refused::Full));
        assert!(!calm.is_displaced());
        drop(calm);
        flood.push(admission.enter(FLOOD).expect("a place is free again"));
    }
}

#[test]
fn places_are_counted_until_they_are_dropped() {
    let admission = Admission::new(4);
    let flood = places(&admission, FLOOD, 4);
    let calm = admission.enter(CALM).unwrap();
    assert_eq!(admission.present(), 5, "the displaced one has not gone yet");
    drop(flood);
    assert_eq!(admission.present(), 1);
    let all = places(&admission, FLOOD, 3);
    assert_eq!(admission.enter(FLOOD).err(), Some(Refused::Full));
    drop((calm, all));
    assert_eq!(admission.present(), 0);
    assert!(!admission.is_half_full());
}

#[test]
fn once_closed_nobody_enters_and_who_waits_goes_on() {
    let admission = Admission::new(4);
    let place = admission.enter(CALM).unwrap();
    admission.close();
    assert_eq!(admission.enter(CALM).err(), Some(Refused::Closed));
    assert!(!place.is_displaced());
}

#[tokio::test]
async fn work_ends_when_the_place_is_wanted_back() {
    let admission = Admission::new(4);
    let mut flood = places(&admission, FLOOD, 4);
    let oldest = flood.remove(0);
    let waits = tokio::spawn(async move {
        oldest
            .unless_displaced(pin!(std::future::pending::<()>()))
            .await
    });
    tokio::task::yield_now().await;
    let calm = admission.enter(CALM).unwrap();
    assert_eq!(waits.await.unwrap(), Err(Displaced));
    assert_eq!(calm.unless_displaced(pin!(async { 7 })).await, Ok(7));
}

#[tokio::test]
async fn all_are_told_when_all_places_are_wanted_back() {
    let admission = Admission::new(4);
    let waits = places(&admission, CALM, 3).into_iter().map(|place| {
        tokio::spawn(async move {
            place
                .unless_displaced(pin!(std::future::pending::<()>()))
                .await
        })
    });
    let waits: Vec<_> = waits.collect();
    tokio::task::yield_now().await;
    assert_eq!(admission.displace_all(), 3);
    for waiting in waits {
        assert_eq!(waiting.await.unwrap(), Err(Displaced));
    }
    assert_eq!((admission.present(), admission.displace_all()), (0, 0));
}

#[test]
fn those_that_were_displaced_and_do_not_go_are_bounded_too() {
    let admission = Admission::new(80);
    let _flood = places(&admission, FLOOD, 80);
    let _calm = places(&admission, CALM, 11);
    assert_eq!(admission.enter(CALM).err(), Some(Refused::Full));
}
