//! The API server alone, for trying clients against it: `serve DATA_DIR [ADDRESS]` writes
//! `DATA_DIR/kubeconfig` and serves until it is interrupted.

use std::net::SocketAddr;
use std::path::PathBuf;
use towpath_apiserver::{ApiServer, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().ok_or("usage: serve DATA_DIR [ADDRESS]")?);
    let address: SocketAddr = arguments
        .next()
        .as_deref()
        .unwrap_or("127.0.0.1:6443")
        .parse()?;
    let server = ApiServer::open(Config::new(&data_dir)).await?;
    let bound = server.add_listener(address).await?;
    std::fs::write(
        data_dir.join("kubeconfig"),
        server.kubeconfig(&format!("https://{bound}")),
    )?;
    println!("https://{bound}");
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
