//! A job outlives the server that started it. What a job asks of a server that is just not there
//! is asked again; what the server has answered is final.

use reqwest::{Response, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

// A server that is not back by then needs someone.
const LIMIT: Duration = Duration::from_secs(120);
// How often an exchange may break off: a server that refuses a body may look like that, too.
const BREAKS: u32 = 5;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(4);

/// Why an exchange with the server failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody listens, or the one who does is not ready.
    Away(String),
    /// It ended in the middle.
    Broken(String),
    /// The server said so.
    Final(String),
}

impl Failure {
    /// Of a request to a path.
    pub(super) fn of(path: &str, error: &reqwest::Error) -> Self {
        let words = super::http::reach(path, error);
        if error.is_connect() {
            Self::Away(words)
        } else if error.is_builder() || error.is_timeout() {
            Self::Final(words)
        } else {
            Self::Broken(words)
        }
    }
}

/// The answer, unless it says that the server is not ready.
pub(super) fn ready(path: &str, response: Response) -> Result<Response, Failure> {
    match response.status() {
        status @ (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
            Err(Failure::Away(format!("server {path}: {status}")))
        }
        _ => Ok(response),
    }
}

/// Tries of one exchange.
pub(super) struct Patience {
    begin: Instant,
    breaks: u32,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            breaks: 0,
            pause: SHORTEST,
        }
    }

    /// Returns when it is time to try again; an error where there is no point in it.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), String> {
        let words = match failure {
            Failure::Final(words) => return Err(words),
            Failure::Broken(words) => {
                self.breaks += 1;
                words
            }
            Failure::Away(words) => words,
        };
        if self.breaks >= BREAKS || self.begin.elapsed() >= LIMIT {
            return Err(words);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end() {
        let words = || "away".to_string();
        let mut patience = Patience::new();
        assert!(patience.after(Failure::Final(words())).await.is_err());
        let mut tries = 0;
        while patience.after(Failure::Broken(words())).await.is_ok() {
            tries += 1;
        }
        assert_eq!(tries, BREAKS - 1);
        let mut patience = Patience::new();
        let begin = Instant::now();
        while patience.after(Failure::Away(words())).await.is_ok() {}
        assert!((LIMIT..LIMIT + LONGEST * 2).contains(&begin.elapsed()));
    }
}
