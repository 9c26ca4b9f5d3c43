//! The REST API as CI uses it.

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// A signed-in client.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: String,
    token: Option<String>,
}

/// An answer: its status and its body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The JSON, or null.
    pub body: Value,
}

impl Answer {
    /// `data` of a success.
    ///
    /// # Errors
    /// When it was none, with the body.
    pub fn data(self) -> anyhow::Result<Value> {
        if !self.status.is_success() {
            bail!("the server answered {}: {}", self.status, self.body);
        }
        Ok(self.body.get("data").cloned().unwrap_or(Value::Null))
    }
}

impl Api {
    /// A client that has not signed in.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = Client::builder().no_proxy().build()?;
        Ok(Self {
            client,
            base: format!("{url}/api"),
            token: None,
        })
    }

    /// Signs in; the token is kept.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sign_in(mut self, email: &str, password: &str) -> anyhow::Result<Self> {
        let body = json!({ "email": email, "password": password, "note": "harness" });
        let user = self.call(Method::POST, "/users/login", Some(body)).await?.data()?;
        self.token = Some(user["token"].as_str().context("no token")?.to_owned());
        Ok(self)
    }

    /// The token.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Calls a route below `/api`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await.with_context(|| path.to_owned())?).await
    }

    /// GET, for its data.
    ///
    /// # Errors
    /// When it is no success.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None)
            .await?
            .data()
            .with_context(|| format!("GET {path}"))
    }

    /// POST, for its data.
    ///
    /// # Errors
    /// When it is no success.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body))
            .await?
            .data()
            .with_context(|| format!("POST {path}"))
    }

    /// PUT, for its data.
    ///
    /// # Errors
    /// When it is no success.
    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body))
            .await?
            .data()
            .with_context(|| format!("PUT {path}"))
    }

    /// Uploads firmware as chunked multipart.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn upload(&self, product: &str, archive: Vec<u8>) -> anyhow::Result<Answer> {
        self.send(&format!("{product}/firmwares"), "firmware", archive).await
    }

    /// Uploads a file as chunked multipart, in a part of this name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn send(&self, path: &str, part: &'static str, archive: Vec<u8>) -> anyhow::Result<Answer> {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
            archive.chunks(65_536).map(|piece| Ok(piece.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let file = reqwest::multipart::Part::stream(body).file_name("file.fw");
        let form = reqwest::multipart::Form::new().part(part, file);
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(self.token());
        answer(request.multipart(form).send().await?).await
    }
}

async fn answer(response: reqwest::Response) -> anyhow::Result<Answer> {
    let status = response.status();
    let bytes = response.bytes().await?;
    let body =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status, body })
}
