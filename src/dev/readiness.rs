//! Is a server ready for clients? Asked over plain TCP, in the server's own protocol, because a
//! port that accepts connections does not mean that yet.

use std::{
    io::{self, Error},
    net::Ipv4Addr,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest packet of a handshake that is read, in bytes; real ones are below 200.
const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;

async fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
}

/// Redis answers PING with PONG; while it still loads its data it answers LOADING. One with users of its own lets
/// nobody in without a password, and says just that.
pub async fn redis_is_ready(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    if answer == "+PONG\r\n" || answer.starts_with("-NOAUTH ") {
        Ok(())
    } else {
        Err(Error::other(format!("PING was answered {:?}", answer.trim_end())))
    }
}

/// RabbitMQ answers the protocol header with its first frame, `Connection.Start`.
pub async fn rabbitmq_is_ready(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut frame = [0; 11];
    stream.read_exact(&mut frame).await?;
    // A method frame of channel 0, whatever its length, of class 10 and method 10.
    if frame[..3] == [1, 0, 0] && frame[7..] == [0, 10, 0, 10] {
        Ok(())
    } else {
        Err(Error::other("the AMQP header was not answered with Connection.Start"))
    }
}

/// MySQL or MariaDB lets `root` in over TCP without a password.
///
/// The greeting alone would show that the server serves; the login also shows that the init file
/// has done its work.
pub async fn mysql_is_ready(port: u16) -> io::Result<()> {
    const CLIENT_PROTOCOL_41: u32 = 1 << 9;
    const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
    const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;
    const UTF8MB4_GENERAL_CI: u8 = 45;
    const PACKET_BYTES_MAX: u32 = 1 << 24;

    let mut stream = connect(port).await?;
    let (_, greeting) = read_mysql_packet(&mut stream).await?;
    if greeting.first() != Some(&10) {
        return Err(Error::other(format!(
            "the greeting is not of protocol version 10: {}",
            String::from_utf8_lossy(&greeting)
        )));
    }

    let capabilities = CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH;
    let mut login = Vec::with_capacity(80);
    login.extend_from_slice(&capabilities.to_le_bytes());
    login.extend_from_slice(&PACKET_BYTES_MAX.to_le_bytes());
    login.push(UTF8MB4_GENERAL_CI);
    login.extend_from_slice(&[0; 23]);
    login.extend_from_slice(b"root\0");
    login.push(0); // An empty password: no bytes of proof, for whichever plug-in.
    login.extend_from_slice(b"mysql_native_password\0");
    write_mysql_packet(&mut stream, 1, &login).await?;

    let (mut sequence, mut answer) = read_mysql_packet(&mut stream).await?;
    if answer.first() == Some(&0xfe) {
        // The account uses another plug-in: an empty password is nothing there as well.
        write_mysql_packet(&mut stream, sequence.wrapping_add(1), &[]).await?;
        (sequence, answer) = read_mysql_packet(&mut stream).await?;
    }
    if answer.first() != Some(&0) {
        return Err(Error::other(format!(
            "the login was refused in packet {sequence}: {}",
            String::from_utf8_lossy(answer.get(9..).unwrap_or_default())
        )));
    }
    // COM_QUIT, so that the log does not tell of an aborted connection.
    write_mysql_packet(&mut stream, 0, &[1]).await
}

/// One packet: three bytes of length, one of sequence, then the payload.
async fn read_mysql_packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let [a, b, c, sequence] = stream.read_u32().await?.to_be_bytes();
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length > HANDSHAKE_BYTES_MAX {
        return Err(Error::other("the answer is not a MySQL handshake"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok((sequence, payload))
}

async fn write_mysql_packet(stream: &mut TcpStream, sequence: u8, payload: &[u8]) -> io::Result<()> {
    let [a, b, c, _] = u32::try_from(payload.len()).map_err(Error::other)?.to_le_bytes();
    let mut packet = vec![a, b, c, sequence];
    packet.extend_from_slice(payload);
    stream.write_all(&packet).await
}
