use super::*;

#[test]
fn every_setting_says_what_is_allowed() {
    let values = serde_json::to_value(Settings::default()).unwrap();
    let named: Vec<&str> = keys().collect();
    for key in values.as_object().unwrap().keys() {
        assert!(named.contains(&key.as_str()), "{key} has no row");
    }
    assert_eq!(named.len(), values.as_object().unwrap().len());
    Settings::default().check().unwrap();
}

#[test]
fn every_setting_is_in_the_example() {
    let example = include_str!("../../firstcome.example.toml");
    for key in keys() {
        let begins = format!("# {key} = ");
        assert_eq!(example.lines().filter(|it| it.starts_with(&begins)).count(), 1, "{key}");
    }
}

#[test]
fn development_has_no_limit_unless_it_is_set() {
    let limit = |flags: &[(&str, String)]| {
        Settings::load(None, DEV_DEFAULTS, flags).unwrap().rate_limit_user_per_second
    };
    assert_eq!(limit(&[]), 0);
    assert_eq!(limit(&[("rate_limit_user_per_second", "7".to_owned())]), 7);
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    for (key, value, allowed) in [
        ("cells", "3", "1, 2, 4, 8"),
        ("cells", "2048", "up to 1024"),
        ("cells", "0", "1, 2, 4, 8"),
        ("cells", "many", "1, 2, 4, 8"),
        ("listen", "nowhere", "127.0.0.1:8080"),
        ("metrics_listen", "nowhere", "127.0.0.1:9100"),
        ("auth", "jwtt", "none or jwt"),
        ("trusted_proxies", "10.0.0.0/8,here", "10.0.0.0/8"),
        ("cors_origins", "https://shop.example/", "scheme, host"),
        ("redis_url", "http://x", "redis://"),
        ("redis_url", "redis+sentinel://a:1,b:2/", "redis+sentinel://host:port,host:port/name"),
        ("redis_url", "redis://a:1/,rediss://b:2/", "redis://host:port/,redis://host:port/"),
        ("max_in_flight", "0", "1 to 1000000"),
        ("otlp_endpoint", "grpc://collector:4317", "http://127.0.0.1:4318"),
        ("otlp_endpoint", "collector:4318", "http://127.0.0.1:4318"),
        ("otlp_sample_ratio", "1.5", "0 to 1"),
        ("otlp_sample_ratio", "nan", "0 to 1"),
        ("otlp_sample_ratio", "half", "0 to 1"),
        ("mysql_connections", "-1", "4 to 1000"),
    ] {
        let error = Settings::load(None, &[], &[(key, value.to_owned())]).unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(error.allowed.contains(allowed), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_not_quoted() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), "cells = 1\njwt_secret = \"canary\n").unwrap();
    let error = Settings::load(Some(file.path()), &[], &[]).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("canary"), "{error}");
}

#[test]
fn an_unknown_key_in_the_file_is_refused() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), "lissten = \"127.0.0.1:1\"\n").unwrap();
    assert_eq!(Settings::load(Some(file.path()), &[], &[]).unwrap_err().key, "lissten");
    std::fs::write(file.path(), "listen = \"127.0.0.1:1\"\n").unwrap();
    assert_eq!(Settings::load(Some(file.path()), &[], &[]).unwrap().listen.port(), 1);
}
