//! Redis: the visit count, and the item list for ten seconds.

use crate::{Config, Item};
use redis::aio::MultiplexedConnection;
use std::time::Duration;
use tokio::sync::Mutex;

const LIMIT: Duration = Duration::from_secs(2);

/// The cache.
pub struct Cache {
    url: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Cache {
    /// Does not connect yet.
    pub fn new(config: &Config) -> Self {
        let url = format!("redis://{}:{}/", config.redis.0, config.redis.1);
        Self { url, connection: Mutex::default() }
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Result<T, String> {
        let mut slot = self.connection.lock().await;
        let work = async {
            if slot.is_none() {
                let client = redis::Client::open(self.url.as_str())?;
                *slot = Some(client.get_multiplexed_async_connection().await?);
            }
            match slot.as_mut() {
                Some(connection) => command.query_async(connection).await,
                None => unreachable!("filled above"),
            }
        };
        let result = match tokio::time::timeout(LIMIT, work).await {
            Ok(result) => result.map_err(|e: redis::RedisError| e.to_string()),
            Err(_) => Err(format!("no answer within {LIMIT:?}")),
        };
        if result.is_err() {
            *slot = None;
        }
        result
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), String> {
        self.ask::<String>(redis::cmd("PING")).await.map(drop)
    }

    /// Counts a visit and returns the new count.
    pub async fn visit(&self) -> Result<u64, String> {
        let mut command = redis::cmd("INCR");
        command.arg("visits");
        self.ask(command).await
    }

    /// The count.
    pub async fn visits(&self) -> Result<u64, String> {
        let mut command = redis::cmd("GET");
        command.arg("visits");
        Ok(self.ask::<Option<u64>>(command).await?.unwrap_or(0))
    }

    /// The kept item list.
    pub async fn items(&self) -> Result<Option<Vec<Item>>, String> {
        let mut command = redis::cmd("GET");
        command.arg("items");
        let text: Option<String> = self.ask(command).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Keeps the item list for ten seconds.
    pub async fn keep_items(&self, items: &[Item]) -> Result<(), String> {
        let text = serde_json::to_string(items).map_err(|e| e.to_string())?;
        let mut command = redis::cmd("SET");
        command.arg("items").arg(text).arg("EX").arg(10);
        self.ask(command).await
    }

    /// Drops the kept item list.
    pub async fn forget_items(&self) -> Result<(), String> {
        let mut command = redis::cmd("DEL");
        command.arg("items");
        self.ask::<u64>(command).await.map(drop)
    }
}
