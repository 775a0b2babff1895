//! Entry point: reads the environment, serves until SIGTERM, then drains.

use hello::{Config, State, router};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env(|name| std::env::var(name).ok())?;
    let listener = TcpListener::bind(("0.0.0.0", config.port)).await?;
    println!("{}", serde_json::json!({"level": "info", "message": "listening", "port": config.port}));
    let state = Arc::new(State::new(config));
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, router(state).into_make_service_with_connect_info::<std::net::SocketAddr>())
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}
