//! What a source says of an API server that answers so, and what it asks.

use super::*;
use crate::cluster::object::Resource;

mod lists;
mod orders;
mod quiet;
mod server;
mod troubles;
mod words;

use server::{
    Answer, Asked, bookmark, client, cut, error, event, hangs, initial_end, object, page, refused,
    status, whole,
};
use words::brief;

/// A source of Services that is followed.
struct Followed {
    asked: Asked,
    events: mpsc::Receiver<Event>,
    orders: mpsc::Sender<(u64, Order)>,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    /// Of a server that gives these answers.
    fn new(answers: Vec<Answer>) -> Followed {
        Followed::first(Freshness::Any, answers)
    }

    /// Whose first list must be this fresh.
    fn first(fresh: Freshness, answers: Vec<Answer>) -> Followed {
        let asked = Asked::default();
        Followed::by(client(answers, asked.clone()), asked, fresh)
    }

    fn by(client: kube::Client, asked: Asked, fresh: Freshness) -> Followed {
        let (send, events) = mpsc::channel(4);
        let (orders, ordered) = mpsc::channel(4);
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        let place = Place {
            client,
            server: "https://api".into(),
            fresh,
            bookmark_margin: Duration::from_secs(5),
        };
        let ordered = Arc::new(Mutex::new(ordered));
        Followed {
            asked,
            events,
            orders,
            task: tokio::spawn(follow(place, target, send, ordered)),
        }
    }

    /// What is said next, also that nothing is heard for a moment.
    async fn next_of_all(&mut self) -> String {
        let event = timeout(Duration::from_secs(3600), self.events.recv()).await;
        let event = event.expect("an event within the hour");
        brief(event.expect("the watch goes on"))
    }

    /// What is said next; that nothing is heard for a moment is left out, being said whenever a request has ended.
    async fn next(&mut self) -> String {
        loop {
            match self.next_of_all().await {
                event if event == "away" => {}
                event => return event,
            }
        }
    }

    /// These events are said next, with a semicolon between them.
    async fn says(&mut self, events: &str, case: &str) {
        let mut said = Vec::new();
        for _ in events.split("; ") {
            said.push(self.next().await);
        }
        assert_eq!(said.join("; "), events, "{case}");
    }

    /// What was asked until now, likewise.
    fn questions(&self) -> String {
        self.asked.lock().unwrap().join("; ")
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked first and said if these are the answers.
struct Case {
    name: &'static str,
    answers: Vec<Answer>,
    asked: &'static str,
    events: &'static str,
}

async fn run(case: Case) {
    let mut followed = Followed::new(case.answers);
    followed.says(case.events, case.name).await;
    followed.events.close();
    let ended = (&mut followed.task).await;
    ended.expect("the watch ends when nobody listens");
    let questions = followed.questions();
    assert!(
        questions.starts_with(case.asked),
        "{}: {questions}",
        case.name
    );
}
