//! Reads metrics back from what `/metrics` renders, so that a page and a dashboard cannot differ.

/// One line of the rendering.
#[derive(Debug, PartialEq)]
pub struct Sample<'a> {
    pub name: &'a str,
    labels: &'a str,
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// A label's value as it is rendered; the engine's own labels need no escapes.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.split("\",").find_map(|it| {
            it.strip_prefix(name)?.strip_prefix("=\"").map(|value| value.strip_suffix('"').unwrap_or(value))
        })
    }
}

/// All samples of a rendering, in its order.
pub fn samples(rendered: &str) -> impl Iterator<Item = Sample<'_>> {
    rendered.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Sample { name, labels: labels.strip_suffix('}').unwrap_or(labels), value: value.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn what_is_rendered_is_read() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("plain_total").increment(3);
            metrics::counter!("told_total", "code" => "sold, out", "by" => "user").increment(1);
            metrics::gauge!("share").set(0.25);
        });
        let rendered = recorder.handle().render();
        let find = |name| samples(&rendered).find(|it| it.name == name).unwrap();
        assert_eq!((find("plain_total").value, find("plain_total").label("code")), (3.0, None));
        assert_eq!(find("told_total").label("code"), Some("sold, out"));
        assert_eq!(find("told_total").label("by"), Some("user"));
        assert_eq!(find("share").value, 0.25);
        assert_eq!(samples(&rendered).count(), 3);
    }
}
