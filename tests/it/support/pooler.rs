//! A connection pooler as PgBouncer with `pool_mode = transaction` is one: every transaction of every client goes to
//! whichever session of the server is free, here to the only one. It speaks as much of the protocol as it takes to ask
//! something in the simple way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Starts one before the server of `url`; its own connection string.
pub async fn start(url: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let client = std::sync::Arc::new(client);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let client = client.clone();
            tokio::spawn(async move { serve(stream, &client).await });
        }
    });
    format!("postgresql://ann:s3cret@127.0.0.1:{port}/shop?sslmode=disable")
}

async fn serve(mut stream: TcpStream, server: &Client) -> std::io::Result<()> {
    let length = stream.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    stream.read_exact(&mut startup).await?;
    let mut answer = message(b'R', &0_u32.to_be_bytes());
    answer.extend(message(b'K', &[0; 8]));
    answer.extend(message(b'Z', b"I"));
    stream.write_all(&answer).await?;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        if kind != b'Q' {
            return Ok(());
        }
        let query = String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned();
        let mut answer = Vec::new();
        for part in server.simple_query(&query).await.unwrap_or_default() {
            match part {
                SimpleQueryMessage::Row(row) => {
                    // One column of text, whose type nobody asks for.
                    let mut description = 1_u16.to_be_bytes().to_vec();
                    description.extend(b"column\0");
                    description.extend([0; 6]);
                    description.extend(25_u32.to_be_bytes());
                    description.extend((-1_i16).to_be_bytes());
                    description.extend((-1_i32).to_be_bytes());
                    description.extend(0_u16.to_be_bytes());
                    answer.extend(message(b'T', &description));
                    let value = row.get(0).unwrap_or_default();
                    let mut data = 1_u16.to_be_bytes().to_vec();
                    data.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    data.extend(value.as_bytes());
                    answer.extend(message(b'D', &data));
                }
                SimpleQueryMessage::CommandComplete(_) => answer.extend(message(b'C', b"SELECT 1\0")),
                _ => {}
            }
        }
        answer.extend(message(b'Z', b"I"));
        stream.write_all(&answer).await?;
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}
