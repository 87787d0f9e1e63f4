//! One request to a server, over its socket.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::admin::page;
use crate::admin::words::Refusal;

/// A moment longer than a server takes at the longest, which then says so.
const ANSWER_TIME_MAX: Duration = page::ANSWER_TIME_MAX.saturating_add(Duration::from_secs(2));

/// Octets of an answer: thousands of entries of a cache.
const ANSWER_MAX: usize = 64 << 20;

/// A connection to a server, and who that is.
pub(super) struct Server {
    stream: StdStream,
    /// As we see it; `None` in a process namespace that we do not.
    pub(super) pid: Option<u32>,
    pub(super) user: u32,
    /// It is of another user, and so refuses us, unless it is no server of this kind.
    pub(super) is_anothers: bool,
}

/// What runs a connection.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

impl Server {
    /// Connects to the abstract socket of this name. One that is not being accepted from is as good as none.
    pub(super) fn connect(name: &str) -> io::Result<Server> {
        runtime()?.block_on(async {
            let stream = UnixStream::connect(format!("\0{name}")).await?;
            let peer = stream.peer_cred()?;
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
            Ok(Server {
                stream: stream.into_std()?,
                pid: pid.filter(|pid| *pid != 0),
                user: peer.uid(),
                is_anothers: false,
            })
        })
    }

    /// Asks once.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_vec(asked).map_err(|fault| fault.to_string())?;
        let runtime = runtime().map_err(|fault| fault.to_string())?;
        let (is_ok, body) = runtime.block_on(self.answer(path, body))?;
        if is_ok {
            serde_json::from_slice(&body)
                .map_err(|fault| format!("the server says what this client does not know: {fault}"))
        } else {
            let refusal: Result<Refusal, _> = serde_json::from_slice(&body);
            Err(refusal.map_or_else(|fault| fault.to_string(), |refusal| refusal.error))
        }
    }

    async fn answer(&self, path: &str, body: Vec<u8>) -> Result<(bool, Bytes), String> {
        match timeout(ANSWER_TIME_MAX, self.exchange(path, body)).await {
            Ok(answer) => answer.map_err(|fault| self.cannot_be_asked(&*fault)),
            Err(_) => {
                let pid = self.pid.map(|pid| format!(", pid {pid},"));
                Err(format!(
                    "the server{} has not answered within {} s: it is stopped, or has no time",
                    pid.unwrap_or_default(),
                    ANSWER_TIME_MAX.as_secs()
                ))
            }
        }
    }

    fn cannot_be_asked(&self, fault: &dyn std::error::Error) -> String {
        let user = self.user;
        if self.is_anothers {
            format!("the server refuses: it is of user {user}; ask as that user or as root")
        } else {
            format!("the server cannot be asked: {fault}")
        }
    }

    async fn exchange(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(bool, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::from_std(self.stream.try_clone()?)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", "cairn")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let is_ok = response.status().is_success();
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await?;
        Ok((is_ok, body.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up_and_named() {
        let (ours, _theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let server = Server {
            stream: ours,
            pid: Some(7),
            user: 0,
            is_anothers: false,
        };
        let said = timeout(ANSWER_TIME_MAX * 2, server.answer("/top", vec![])).await;
        assert_eq!(
            said.unwrap().unwrap_err(),
            "the server, pid 7, has not answered within 12 s: it is stopped, or has no time"
        );
    }
}
