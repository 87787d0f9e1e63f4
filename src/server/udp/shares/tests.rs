use super::*;

fn client(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// What is sent in a window by each client, and how many datagrams the thread can read.
fn shared_out(sent: &[(u8, f64)], room: f64) -> Vec<(u8, u32)> {
    let offered = sent.iter().map(|(last, count)| (client(*last), *count));
    let limited = share_out(offered.collect(), room).into_iter();
    let percent = limited.map(|limited| {
        let IpAddr::V4(ip) = limited.client else {
            panic!("{limited:?}");
        };
        (ip.octets()[3], (limited.share * 100.0).round() as u32)
    });
    percent.collect()
}

#[test]
fn what_the_small_do_not_use_is_for_the_large() {
    let alike: Vec<(u8, f64)> = (0..20).map(|last| (last, 100.0)).collect();
    for (name, sent, room, expected) in [
        ("all is read", vec![(1, 50.0), (2, 40.0)], 100.0, vec![]),
        (
            "one floods",
            vec![(1, 1_000.0), (2, 20.0)],
            100.0,
            vec![(1, 8)],
        ),
        (
            "two flood",
            vec![(1, 1_000.0), (2, 20.0), (3, 400.0)],
            100.0,
            vec![(1, 4), (3, 10)],
        ),
        (
            "one floods, another sends its share at most",
            vec![(1, 1_000.0), (2, 45.0)],
            100.0,
            vec![(1, 6)],
        ),
        ("alone, one floods", vec![(1, 400.0)], 100.0, vec![(1, 25)]),
        ("many send as much", alike, 1_000.0, vec![]),
        ("nobody sends", vec![], 100.0, vec![]),
    ] {
        assert_eq!(shared_out(&sent, room), expected, "{name}");
    }
}

/// A socket whose thread reads so many datagrams in a window, with the limits that it was told.
struct Simulated {
    shares: Shares,
    now: Instant,
    lost: u32,
    limited: Vec<Limited>,
    read: Vec<(u8, f64)>,
}

impl Simulated {
    const READ_MAX: f64 = 10_000.0;

    fn begin() -> Simulated {
        let now = Instant::now();
        Simulated {
            shares: Shares::new(now, 7),
            now,
            lost: 7,
            limited: Vec::new(),
            read: Vec::new(),
        }
    }

    /// A window in which these clients send so much each.
    fn window(&mut self, sent: &[(u8, f64)]) {
        let passed = |last: u8| {
            let limit = self
                .limited
                .iter()
                .find(|limited| limited.client == client(last));
            limit.map_or(1.0, |limited| limited.share)
        };
        let queued: Vec<(u8, f64)> = sent
            .iter()
            .map(|(last, count)| (*last, count * passed(*last)))
            .collect();
        let all: f64 = queued.iter().map(|(_, count)| count).sum();
        let fits = (Simulated::READ_MAX / all).min(1.0);
        self.read = queued
            .iter()
            .map(|(last, count)| (*last, count * fits))
            .collect();
        for (last, count) in &self.read {
            (0..*count as u32).for_each(|_| self.shares.count(client(*last)));
        }
        let (sent, read): (f64, f64) = (
            sent.iter().map(|(_, count)| count).sum(),
            self.read.iter().map(|(_, count)| count).sum(),
        );
        self.lost = self.lost.wrapping_add((sent - read) as u32);
        self.now += WINDOW;
        let (now, lost) = (self.now, self.lost);
        let look = self.shares.read(now, read as usize, fits < 1.0, || lost);
        match look.order {
            Some(Order::Limit(limited)) => self.limited = limited,
            Some(Order::Lift) => self.limited.clear(),
            None => {}
        }
    }

    /// What was read of a client in the last window.
    fn read_of(&self, last: u8) -> f64 {
        let of_client = self.read.iter().find(|(other, _)| *other == last);
        of_client.map_or(0.0, |(_, count)| *count)
    }
}

#[test]
fn a_flood_loses_its_own_and_uses_what_others_leave() {
    let mut socket = Simulated::begin();
    let sent = [(1, 80_000.0), (2, 500.0), (3, 100.0)];
    for window in 0..100 {
        socket.window(&sent);
        if window >= 2 {
            let read = (socket.read_of(2), socket.read_of(3));
            assert!(read.0 > 450.0 && read.1 > 90.0, "window {window}: {read:?}");
        }
        if window >= 10 {
            assert!(
                socket.read_of(1) > 7_500.0,
                "window {window}: {}",
                socket.read_of(1)
            );
        }
    }
}

#[test]
fn nobody_is_limited_once_a_flood_is_over() {
    let mut socket = Simulated::begin();
    (0..20).for_each(|_| socket.window(&[(1, 80_000.0), (2, 500.0)]));
    assert!(!socket.limited.is_empty());
    socket.window(&[(1, 300.0), (2, 500.0)]);
    assert!(socket.limited.is_empty());
    assert!(!socket.shares.are_counted());
}

#[test]
fn a_limit_is_lifted_when_nothing_more_comes() {
    let mut socket = Simulated::begin();
    (0..20).for_each(|_| socket.window(&[(1, 80_000.0), (2, 500.0)]));
    let (soon, lost) = (socket.now + WINDOW / 2, socket.lost);
    let look = socket.shares.rest(soon, || panic!("it is no time to look"));
    assert_eq!(look, Look::default());
    let look = socket.shares.rest(socket.now + WINDOW, || lost);
    assert_eq!(look.order, Some(Order::Lift));
}

#[test]
fn a_second_flood_is_limited_beside_the_first() {
    let mut socket = Simulated::begin();
    (0..20).for_each(|_| socket.window(&[(1, 80_000.0), (2, 500.0)]));
    (0..20).for_each(|_| socket.window(&[(1, 80_000.0), (2, 60_000.0), (3, 500.0)]));
    let read = [1, 2, 3].map(|last| socket.read_of(last));
    assert!(read[0] > 3_500.0 && read[1] > 3_500.0, "{read:?}");
    assert!(read[2] > 450.0, "{read:?}");
}

#[test]
fn many_that_send_alike_are_left_to_chance() {
    let mut socket = Simulated::begin();
    let sent: Vec<(u8, f64)> = (0..50).map(|last| (last, 1_000.0)).collect();
    (0..20).for_each(|_| socket.window(&sent));
    assert!(socket.limited.is_empty());
}

#[test]
fn a_burst_that_the_kernel_lost_some_of_limits_nobody() {
    let mut socket = Simulated::begin();
    socket.window(&[(1, 20_000.0)]);
    assert!(socket.shares.are_counted());
    socket.window(&[(1, 2_000.0)]);
    assert!(socket.limited.is_empty() && !socket.shares.are_counted());
}

#[test]
fn a_queue_that_overflows_and_is_emptied_in_one_window_lets_no_share_grow() {
    let mut socket = Simulated::begin();
    let sent = [(1, 80_000.0), (2, 500.0)];
    (0..3).for_each(|_| socket.window(&sent));
    let before = socket.limited.clone();
    assert_eq!(before.len(), 1);
    // It was read only late: of what passed half was lost for want of room.
    let read = (80_000.0 * before[0].share / 2.0) as u32;
    (0..read).for_each(|_| socket.shares.count(client(1)));
    socket.now += WINDOW;
    socket.lost += 80_000 - read;
    let lost = socket.lost;
    let look = socket
        .shares
        .read(socket.now, read as usize, false, || lost);
    assert_eq!(look.order, Some(Order::Limit(before)));
}

#[test]
fn a_thread_that_looks_late_does_not_take_a_flood_for_over() {
    let mut socket = Simulated::begin();
    let sent = [(1, 80_000.0), (2, 500.0)];
    (0..3).for_each(|_| socket.window(&sent));
    // In ten windows so much comes, and one window's worth is read.
    socket.now += 10 * WINDOW;
    socket.lost += 10 * 80_000 - 9_000;
    (0..9_000).for_each(|_| socket.shares.count(client(1)));
    let lost = socket.lost;
    let look = socket.shares.read(socket.now, 9_000, false, || lost);
    assert!(matches!(look.order, Some(Order::Limit(_))), "{look:?}");
}

#[test]
fn a_client_that_has_stopped_is_free_while_another_goes_on() {
    let mut socket = Simulated::begin();
    (0..20).for_each(|_| socket.window(&[(1, 80_000.0), (2, 60_000.0)]));
    assert_eq!(socket.limited.len(), 2);
    // Its share is of what it sent, until the first look.
    (0..2).for_each(|_| socket.window(&[(1, 80_000.0), (2, 300.0)]));
    let clients: Vec<IpAddr> = socket
        .limited
        .iter()
        .map(|limited| limited.client)
        .collect();
    assert_eq!(clients, [client(1)]);
}

#[test]
fn where_the_kernel_takes_no_filter_losses_are_told_and_nothing_is_tried_again() {
    let mut socket = Simulated::begin();
    (0..2).for_each(|_| socket.window(&[(1, 80_000.0)]));
    assert_eq!(socket.limited.len(), 1);
    socket.shares.cannot_limit();
    for _ in 0..5 {
        socket.now += WINDOW;
        socket.lost += 70_000;
        let lost = socket.lost;
        let look = socket.shares.read(socket.now, 10_000, true, || lost);
        assert_eq!((look.lost, look.order), (70_000, None));
        assert!(!socket.shares.are_counted());
    }
}

#[test]
fn a_thread_that_was_kept_from_running_limits_nobody() {
    for (name, is_full, windows) in [
        ("it empties the queue each time", false, 1),
        ("it looks late each time", true, 5),
    ] {
        let mut socket = Simulated::begin();
        for _ in 0..10 {
            socket.now += windows * WINDOW;
            socket.lost += 300;
            socket.shares.count(client(1));
            let (now, lost) = (socket.now, socket.lost);
            let look = socket.shares.read(now, 550, is_full, || lost);
            assert_eq!((look.lost, look.order), (300, None), "{name}");
        }
    }
}
