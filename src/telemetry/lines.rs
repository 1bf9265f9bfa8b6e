//! Log lines say what they belong to: the id of the request, and trace and span where it is traced.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use super::scope::{self, Scope};

/// Writes lines to standard error.
pub struct Lines(pub LogFormat);

impl MakeWriter<'_> for Lines {
    type Writer = Line<io::Stderr>;

    fn make_writer(&self) -> Self::Writer {
        Line { format: self.0, to: io::stderr() }
    }
}

/// Adds to a line what belongs to it, at its end.
pub struct Line<To> {
    format: LogFormat,
    to: To,
}

impl<To: Write> Write for Line<To> {
    /// The library hands over whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let end: &[u8] = match self.format {
            LogFormat::Text => b"\n",
            LogFormat::Json => b"}\n",
        };
        let marks = scope::look(|it| marks(self.format, it)).unwrap_or_default();
        match line.strip_suffix(end) {
            Some(head) if !marks.is_empty() => self.to.write_all(&[head, marks.as_bytes(), end].concat())?,
            Some(_) | None => self.to.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A client may have chosen the id, of any printable characters; so it is quoted.
fn marks(format: LogFormat, scope: &Scope) -> String {
    let request_id = scope.request_id.as_ref().and_then(|it| it.to_str().ok());
    let span = scope.span.as_ref().map(|it| it.ids());
    let mut marks = String::new();
    for (name, value) in [
        ("request_id", request_id.map(str::to_owned)),
        ("trace_id", span.map(|it| it.0.to_string())),
        ("span_id", span.map(|it| it.1.to_string())),
    ] {
        let Some(value) = value else { continue };
        marks += &match format {
            LogFormat::Text => format!(" {name}={value:?}"),
            LogFormat::Json => format!(",\"{name}\":{}", serde_json::Value::from(value)),
        };
    }
    marks
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    async fn written(format: LogFormat, id: Option<&str>, line: &str) -> String {
        let request_id = id.map(|it| HeaderValue::from_str(it).unwrap());
        let write = async {
            let mut to = Line { format, to: Vec::new() };
            to.write_all(line.as_bytes()).unwrap();
            String::from_utf8(to.to).unwrap()
        };
        Scope { request_id, span: None }.around(write).await
    }

    #[tokio::test]
    async fn a_line_ends_with_the_id_of_its_request() {
        let json = "{\"level\":\"WARN\",\"fields\":{\"message\":\"x\"}}\n";
        assert_eq!(
            written(LogFormat::Json, Some("a \"7\""), json).await,
            "{\"level\":\"WARN\",\"fields\":{\"message\":\"x\"},\"request_id\":\"a \\\"7\\\"\"}\n"
        );
        assert_eq!(written(LogFormat::Text, Some("a7"), "WARN x\n").await, "WARN x request_id=\"a7\"\n");
        for (format, line) in [(LogFormat::Json, json), (LogFormat::Text, "WARN x\n")] {
            assert_eq!(written(format, None, line).await, line);
        }
    }
}
