//! Servers and clients inside sandboxes, on threads that enter their namespace.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn enter(netns: Option<&Path>) {
    if let Some(netns) = netns {
        let file = File::open(netns).unwrap();
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    }
}

/// An HTTP server that says its name and repeats the request's head.
pub fn serve(netns: &Path, port: u16, name: &'static str) {
    let netns = netns.to_path_buf();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        enter(Some(&netns));
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            std::thread::spawn(move || reply(stream, name));
        }
    });
    is_ready.recv().unwrap();
}

fn reply(mut stream: TcpStream, name: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.to_ascii_lowercase().contains("upgrade: echo") {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        );
        let mut buffer = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..length]);
        }
        return;
    }
    let from = stream
        .peer_addr()
        .map(|a| a.ip().to_string())
        .unwrap_or_default();
    let body = format!("{name} from={from}\n{head}");
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
}

/// One request from a sandbox, or from the host.
pub fn get(from: Option<&Path>, to: &str, head: &str) -> std::io::Result<String> {
    let (from, to): (Option<PathBuf>, SocketAddr) = (from.map(Into::into), to.parse().unwrap());
    let head = head.to_string();
    let work = move || {
        enter(from.as_deref());
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{head}\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    std::thread::spawn(work).join().unwrap()
}

/// Plain request.
pub const HELLO: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close";
