//! PostgreSQL: one connection, made on first use and again after a failure.

use crate::{Config, Item};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

const LIMIT: Duration = Duration::from_secs(3);

/// The items table.
pub struct Database {
    settings: tokio_postgres::Config,
    client: Mutex<Option<Arc<Client>>>,
}

impl Database {
    /// Does not connect yet.
    pub fn new(config: &Config) -> Self {
        let mut settings = tokio_postgres::Config::new();
        settings
            .host(&config.database.0)
            .port(config.database.1)
            .dbname(&config.database_name)
            .user(&config.database_user.0)
            .password(&config.database_user.1)
            .connect_timeout(LIMIT);
        Self { settings, client: Mutex::default() }
    }

    async fn client(&self) -> Result<Arc<Client>, String> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|c| !c.is_closed()) {
            return Ok(client.clone());
        }
        let (client, connection) = limited(self.settings.connect(NoTls)).await?;
        tokio::spawn(connection);
        limited(client.batch_execute(
            "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        ))
        .await?;
        let client = Arc::new(client);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), String> {
        limited(self.client().await?.simple_query("SELECT 1")).await.map(drop)
    }

    /// Stores an item under its key.
    pub async fn put(&self, item: &Item) -> Result<(), String> {
        let sql = "INSERT INTO items VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
        limited(self.client().await?.execute(sql, &[&item.key, &item.value])).await.map(drop)
    }

    /// The first 1,000 items in key order.
    pub async fn items(&self) -> Result<Vec<Item>, String> {
        let sql = "SELECT key, value FROM items ORDER BY key LIMIT 1000";
        let rows = limited(self.client().await?.query(sql, &[])).await?;
        Ok(rows.iter().map(|row| Item { key: row.get(0), value: row.get(1) }).collect())
    }
}

async fn limited<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {LIMIT:?}")),
    }
}
