//! Mail over SMTP (RFC 5321): STARTTLS (RFC 3207), TLS from the start (RFC 8314), and AUTH with
//! PLAIN, LOGIN and CRAM-MD5 (RFC 4954, RFC 2195).
//!
//! What the server says before the connection is private counts for nothing afterwards, and what
//! it sends ahead of time ends the talk, so that nobody in between puts words into its mouth.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use towpath_alerting::alertmanager::{Auth, Fault, Mail};

use super::dial::{Dial, Open};
use super::{Trace, later, refused};
use crate::scrape::md5;

/// The longest line of a reply, in bytes.
const LINE_BYTES: u64 = 4096;
/// The most lines of a reply.
const REPLY_LINES: usize = 128;

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn said(&self) -> String {
        let said = self.lines.join(" ");
        let said: String = said.chars().take(200).collect();
        format!("answered {}: {said}", self.code)
    }
}

/// A talk with a server.
struct Session {
    stream: BufReader<Open>,
    /// What it can do, by its keywords.
    can: Vec<String>,
    private: bool,
}

/// Sends a mail.
pub(super) async fn send(dial: &Dial, mail: &Mail, trace: &mut Trace) -> Result<(), Fault> {
    let (host, port) = (mail.server.0.as_str(), mail.server.1);
    let tcp = dial.tcp(host, port).await?;
    let stream: Open = match mail.implicit_tls {
        true => dial.tls(tcp, host, &mail.tls).await?,
        false => Box::new(tcp),
    };
    let mut session = Session {
        stream: BufReader::new(stream),
        can: Vec::new(),
        private: mail.implicit_tls,
    };
    let greeting = session.reply().await?;
    trace.status = Some(greeting.code);
    if greeting.code != 220 {
        return Err(later(format!("greeting: {}", greeting.said())));
    }
    session.hello(&mail.hello).await?;
    if mail.require_tls && !mail.implicit_tls {
        session = session.start_tls(dial, mail).await?;
    }
    if let Some(auth) = &mail.auth {
        session.log_in(auth, host, trace).await?;
    }
    let result = session.deliver(mail, trace).await;
    if result.is_ok() {
        // It is taken; what is said in parting changes nothing.
        let _ = session.command("QUIT").await;
    }
    result
}

fn io(error: std::io::Error) -> Fault {
    later(format!("smtp: {error}"))
}

impl Session {
    async fn reply(&mut self) -> Result<Reply, Fault> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.stream).take(LINE_BYTES);
            limited.read_until(b'\n', &mut line).await.map_err(io)?;
            if line.last() != Some(&b'\n') || lines.len() >= REPLY_LINES {
                return Err(later("smtp: the connection ended or the reply is too long"));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            let (code, rest) = line.split_at_checked(3).unwrap_or((line, ""));
            let code: u16 = code
                .parse()
                .map_err(|_| later("smtp: the server does not speak SMTP"))?;
            let more = rest.starts_with('-');
            lines.push(rest.trim_start_matches(['-', ' ']).to_owned());
            if !more {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn command(&mut self, line: &str) -> Result<Reply, Fault> {
        if line.contains(['\r', '\n']) {
            return Err(refused("smtp: a value holds a line end"));
        }
        let line = format!("{line}\r\n");
        self.stream.write_all(line.as_bytes()).await.map_err(io)?;
        self.stream.flush().await.map_err(io)?;
        self.reply().await
    }

    async fn hello(&mut self, name: &str) -> Result<(), Fault> {
        self.can.clear();
        let reply = self.command(&format!("EHLO {name}")).await?;
        if reply.code == 250 {
            self.can = reply.lines.into_iter().skip(1).collect();
            return Ok(());
        }
        let reply = self.command(&format!("HELO {name}")).await?;
        match reply.code {
            250 => Ok(()),
            _ => Err(later(format!("hello: {}", reply.said()))),
        }
    }

    /// The parameters of something the server can do.
    fn ability(&self, keyword: &str) -> Option<String> {
        self.can.iter().find_map(|line| {
            let (name, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            name.eq_ignore_ascii_case(keyword).then(|| rest.to_owned())
        })
    }

    async fn start_tls(mut self, dial: &Dial, mail: &Mail) -> Result<Self, Fault> {
        if self.ability("STARTTLS").is_none() {
            return Err(later(
                "require_tls is true, but the server does not offer STARTTLS",
            ));
        }
        let reply = self.command("STARTTLS").await?;
        if reply.code != 220 {
            return Err(later(format!("STARTTLS: {}", reply.said())));
        }
        if !self.stream.buffer().is_empty() {
            return Err(later("smtp: something was said ahead of TLS"));
        }
        let stream = self.stream.into_inner();
        let stream = dial.tls(stream, &mail.server.0, &mail.tls).await?;
        let mut session = Self {
            stream: BufReader::new(stream),
            can: Vec::new(),
            private: true,
        };
        session.hello(&mail.hello).await?;
        Ok(session)
    }

    /// Logs in by the first way of the server's that there is a secret for.
    async fn log_in(&mut self, auth: &Auth, host: &str, trace: &mut Trace) -> Result<(), Fault> {
        // A server that does not ask takes mail from everyone who reaches it.
        let Some(ways) = self.ability("AUTH") else {
            return Ok(());
        };
        let mut lacking = String::new();
        for way in ways.split_whitespace() {
            let reply = match way.to_ascii_uppercase().as_str() {
                "CRAM-MD5" if !auth.secret.is_empty() => self.cram(auth).await?,
                "PLAIN" if !auth.password.is_empty() => {
                    let local = ["localhost", "127.0.0.1", "::1"].contains(&host);
                    if !self.private && !local {
                        return Err(later("the password is not sent unencrypted"));
                    }
                    let Auth {
                        identity,
                        username,
                        password,
                        ..
                    } = auth;
                    let text = STANDARD.encode(format!("{identity}\0{username}\0{password}"));
                    self.command(&format!("AUTH PLAIN {text}")).await?
                }
                "LOGIN" if !auth.password.is_empty() => self.login(auth).await?,
                known @ ("CRAM-MD5" | "PLAIN" | "LOGIN") => {
                    lacking = format!("there is no secret for {known}");
                    continue;
                }
                _ => continue,
            };
            trace.status = Some(reply.code);
            return match reply.code {
                235 => Ok(()),
                _ => Err(later(format!("login: {}", reply.said()))),
            };
        }
        Err(later(match lacking.is_empty() {
            true => format!("none of the server's ways to log in is known: {ways}"),
            false => lacking,
        }))
    }

    async fn login(&mut self, auth: &Auth) -> Result<Reply, Fault> {
        let mut reply = self.command("AUTH LOGIN").await?;
        for answer in [&auth.username, &auth.password] {
            if reply.code != 334 {
                return Ok(reply);
            }
            reply = self.command(&STANDARD.encode(answer)).await?;
        }
        Ok(reply)
    }

    async fn cram(&mut self, auth: &Auth) -> Result<Reply, Fault> {
        let reply = self.command("AUTH CRAM-MD5").await?;
        if reply.code != 334 {
            return Ok(reply);
        }
        let challenge = reply.lines.first().map_or("", String::as_str);
        let challenge = STANDARD
            .decode(challenge.trim())
            .map_err(|_| later("the server's challenge cannot be read"))?;
        let digest = proof(auth.secret.as_bytes(), &challenge);
        let answer = format!("{} {digest}", auth.username);
        self.command(&STANDARD.encode(answer)).await
    }

    async fn deliver(&mut self, mail: &Mail, trace: &mut Trace) -> Result<(), Fault> {
        let mut options = String::new();
        if self.ability("8BITMIME").is_some() {
            options += " BODY=8BITMIME";
        }
        let addresses = mail.to.iter().chain([&mail.from]);
        if !addresses.into_iter().all(|address| address.is_ascii()) {
            if self.ability("SMTPUTF8").is_none() {
                return Err(refused("the server takes no addresses beyond ASCII"));
            }
            options += " SMTPUTF8";
        }
        let begin = format!("MAIL FROM:<{}>{options}", mail.from);
        let mut commands = vec![begin];
        commands.extend(mail.to.iter().map(|to| format!("RCPT TO:<{to}>")));
        for command in commands {
            let reply = self.command(&command).await?;
            trace.status = Some(reply.code);
            judge(&reply, 250..=251)?;
        }
        let reply = self.command("DATA").await?;
        trace.status = Some(reply.code);
        judge(&reply, 354..=354)?;
        let mut body = String::with_capacity(mail.content.len() + 16);
        for line in mail.content.split_inclusive("\r\n") {
            // A dot on its own would end the mail.
            if line.starts_with('.') {
                body.push('.');
            }
            body.push_str(line);
        }
        body.push_str(".\r\n");
        self.stream.write_all(body.as_bytes()).await.map_err(io)?;
        self.stream.flush().await.map_err(io)?;
        let reply = self.reply().await?;
        trace.status = Some(reply.code);
        judge(&reply, 250..=250)
    }
}

fn judge(reply: &Reply, wanted: std::ops::RangeInclusive<u16>) -> Result<(), Fault> {
    match reply.code {
        code if wanted.contains(&code) => Ok(()),
        500.. => Err(refused(reply.said())),
        _ => Err(later(reply.said())),
    }
}

/// HMAC-MD5 of a challenge, as digits.
fn proof(secret: &[u8], challenge: &[u8]) -> String {
    let mut key = [0u8; 64];
    match secret.len() {
        0..=64 => key[..secret.len()].copy_from_slice(secret),
        _ => key[..16].copy_from_slice(&md5(secret)),
    }
    let padded = |with: u8| key.map(|byte| byte ^ with);
    let inner = md5(&[&padded(0x36)[..], challenge].concat());
    let outer = md5(&[&padded(0x5c)[..], &inner].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::proof;

    #[test]
    fn the_proof_of_rfc_2195() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let made = proof(b"tanstaaftanstaaf", challenge);
        assert_eq!(made, "b913a602c7eda7a495b4e6e7334d3890");
    }
}
