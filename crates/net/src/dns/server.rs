//! The DNS server on the gateway's address: UDP and TCP, RFC 1035 with EDNS sizes.

use super::forward::Upstreams;
use super::meters::Meters;
use super::zone::{Answer, Zone};
use crate::config::NetConfig;
use crate::services::Shared;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use towpath_daemon::{CancellationToken, ServiceContext};
use towpath_stdx::{Clock, SystemClock};

// Largest answer over UDP that crosses every network whole.
const UDP_BYTES: u16 = 1232;
const WAITING_QUESTIONS: usize = 512;
const TCP_CONNECTIONS: usize = 128;
const TCP_IDLE: Duration = Duration::from_secs(10);
const ALIAS_DEPTH: usize = 8;

struct Server {
    shared: Shared,
    zone: Zone,
    upstreams: Upstreams,
    waiting: Arc<Semaphore>,
    meters: Meters,
}

/// Runs until cancelled.
pub(crate) async fn serve(
    shared: Shared,
    config: NetConfig,
    mut context: ServiceContext,
) -> Result<(), String> {
    let cancel = context.cancel.clone();
    let gateway = config.pod_cidr.gateway();
    let (udp, tcp) = bind(gateway)
        .await
        .map_err(|e| format!("listen for DNS on {gateway}: {e}"))?;
    let port = udp.local_addr().map_err(|e| e.to_string())?.port();
    // Set once per instance; a restart within the process keeps the first.
    let _ = shared.dns_port.set(port);
    let zone = Zone::new(
        &config.cluster_dns_domain,
        config.pod_cidr,
        config.service_cidr,
    );
    let server = Arc::new(Server {
        shared,
        zone,
        upstreams: Upstreams::new(gateway),
        waiting: Arc::new(Semaphore::new(WAITING_QUESTIONS)),
        meters: Meters::new(port, &config.cluster_dns_domain),
    });
    context.ready();
    tokio::select! {
        () = cancel.cancelled() => Ok(()),
        () = server.clone().udp(Arc::new(udp)) => Ok(()),
        () = server.tcp(tcp, cancel.clone()) => Ok(()),
    }
}

// Port 53, or any other where a server of the host listens on every address; the rules then
// lead 53 there.
async fn bind(gateway: Ipv4Addr) -> io::Result<(UdpSocket, TcpListener)> {
    for port in [53, 0, 0, 0] {
        let tcp = match TcpListener::bind((gateway, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
            tcp => tcp?,
        };
        match UdpSocket::bind(tcp.local_addr()?).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            udp => return Ok((udp?, tcp)),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl Server {
    async fn udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // An ICMP error about an earlier answer; nothing to do with the next question.
                    tracing::debug!(%error, "dns receive");
                    continue;
                }
            };
            let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
                continue;
            };
            let question = buffer[..length].to_vec();
            let (server, socket) = (self.clone(), socket.clone());
            let answering = async move {
                if let Some(answer) = server.answer(&question, false).await {
                    let _ = socket.send_to(&answer, from).await;
                }
                drop(permit);
            };
            towpath_daemon::spawn("dns question", answering);
        }
    }

    async fn tcp(self: Arc<Self>, listener: TcpListener, cancel: CancellationToken) {
        let connections = Arc::new(Semaphore::new(TCP_CONNECTIONS));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else {
                return;
            };
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "dns accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (server, cancel) = (self.clone(), cancel.clone());
            towpath_daemon::spawn("dns connection", async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    result = server.connection(stream) => {
                        if let Err(error) = result {
                            tracing::trace!(%error, %from, "dns connection");
                        }
                    }
                }
                drop(permit);
            });
        }
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let read = async {
                let length = stream.read_u16().await?;
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await?;
                Ok::<_, io::Error>(question)
            };
            let question = tokio::time::timeout(TCP_IDLE, read).await??;
            let Some(answer) = self.answer(&question, true).await else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            stream
                .write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())
                .await?;
        }
    }

    /// The answer's bytes; `None` where the question is not even a header.
    async fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let begin = SystemClock.monotonic();
        let answer = self.reply(bytes, tcp).await;
        let took = SystemClock.monotonic().duration_since(begin);
        self.meters.count(bytes, tcp, answer.as_deref(), took);
        answer
    }

    async fn reply(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let question = match Message::from_vec(bytes) {
            Ok(question) => question,
            Err(_) => return malformed(bytes),
        };
        if question.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
        reply.metadata.recursion_desired = question.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_queries(question.queries.iter().cloned());
        if question.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES).set_version(0);
            reply.set_edns(edns);
        }
        match (question.metadata.op_code, question.queries.as_slice()) {
            (OpCode::Query, [query]) if query.query_class == DNSClass::IN => {
                if !self.fill(&mut reply, query).await {
                    return Some(self.elsewhere(bytes, reply, tcp).await);
                }
            }
            (OpCode::Query, [_]) => reply.metadata.response_code = ResponseCode::Refused,
            (OpCode::Query, _) => reply.metadata.response_code = ResponseCode::FormErr,
            _ => reply.metadata.response_code = ResponseCode::NotImp,
        }
        let limit = if tcp {
            u16::MAX
        } else {
            question.max_payload().min(UDP_BYTES)
        };
        encode(&reply, usize::from(limit))
    }

    // Whether the question is ours to answer; then the reply is complete.
    async fn fill(&self, reply: &mut Message, query: &Query) -> bool {
        let (mut name, wanted) = (query.name.clone(), query.query_type);
        for _ in 0..ALIAS_DEPTH {
            let found = self.zone.look_up(&self.shared.model.read(), &name, wanted);
            match found {
                Answer::Elsewhere if reply.answers.is_empty() => return false,
                Answer::Elsewhere => {
                    let more = self.resolve(&name, wanted).await;
                    reply.answers.extend(more);
                    return true;
                }
                Answer::Missing => {
                    reply.metadata.response_code = ResponseCode::NXDomain;
                    reply.metadata.authoritative = true;
                    reply.authorities.extend(self.zone.authority());
                    return true;
                }
                Answer::Records(mut answers, more) => {
                    if answers.is_empty() {
                        reply.authorities.extend(self.zone.authority());
                    } else {
                        // Clients take the first: spread them.
                        let first = usize::from(reply.metadata.id) % answers.len();
                        answers.rotate_left(first);
                    }
                    reply.metadata.authoritative = true;
                    reply.answers.extend(answers);
                    reply.additionals.extend(more);
                    return true;
                }
                Answer::Alias(record, target) => {
                    reply.metadata.authoritative = true;
                    reply.answers.push(*record);
                    if wanted == RecordType::CNAME {
                        return true;
                    }
                    name = target;
                }
            }
        }
        reply.metadata.response_code = ResponseCode::ServFail;
        true
    }

    // Records behind an alias that leads out of the cluster.
    async fn resolve(&self, name: &Name, wanted: RecordType) -> Vec<Record> {
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name.clone(), wanted));
        let Ok(bytes) = question.to_vec() else {
            return Vec::new();
        };
        match self.upstreams.ask(&bytes, false).await {
            Ok(answer) => Message::from_vec(&answer)
                .map(|m| m.answers)
                .unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, %name, "dns alias");
                Vec::new()
            }
        }
    }

    async fn elsewhere(&self, bytes: &[u8], mut reply: Message, tcp: bool) -> Vec<u8> {
        match self.upstreams.ask(bytes, tcp).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "dns forward");
                reply.metadata.response_code = ResponseCode::ServFail;
                reply.to_vec().unwrap_or_default()
            }
        }
    }
}

fn encode(reply: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= limit {
        Some(bytes)
    } else {
        reply.truncate().to_vec().ok()
    }
}

fn malformed(bytes: &[u8]) -> Option<Vec<u8>> {
    let head: [u8; 2] = bytes.get(..12)?.get(..2)?.try_into().ok()?;
    let id = u16::from_be_bytes(head);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
        .to_vec()
        .ok()
}
