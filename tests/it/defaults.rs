//! Promise: what is easy at the start is no open door later.

use std::process::{Command, Stdio};

use firstcome::app::check_exposure;
use firstcome::config::{Auth, Settings};

use super::test_servers::fresh_folder;

/// Goal: nobody serves without tokens where others can reach it, neither for sale nor in development, unless asked to.
#[test]
fn who_asks_for_no_token_listens_on_loopback_only() {
    let on = |listen: &str, auth| Settings { listen: listen.parse().unwrap(), auth, ..Settings::default() };
    for public in
        ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080", "10.0.0.7:80", "[2001:db8::7]:80", "169.254.0.7:1"]
    {
        let refused = check_exposure(&on(public, Auth::None), false).unwrap_err().to_string();
        assert!(refused.contains(public) && refused.contains("--allow-insecure"), "{refused}");
        check_exposure(&on(public, Auth::None), true).unwrap();
        check_exposure(&on(public, Auth::Jwt), false).unwrap();
    }
    for loopback in ["127.0.0.1:8080", "127.0.0.9:8080", "[::1]:8080"] {
        check_exposure(&on(loopback, Auth::None), false).unwrap();
    }
    let folder = fresh_folder().join("data");
    for arguments in [&["serve"][..], &["dev", "--data-dir", folder.to_str().unwrap()]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
        let output =
            command.args(arguments).args(["--listen", "[::]:0"]).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("loopback only"), "{arguments:?}: {said}");
    }
    assert!(!folder.exists(), "no server was started");
}

/// Goal: the image runs as somebody who owns nothing, whose number Kubernetes can check.
#[test]
fn the_image_does_not_run_as_root() {
    let text = include_str!("../../ops/Dockerfile");
    let last_stage = text.rsplit_once("\nFROM ").expect("stages").1;
    let lines: Vec<&str> = last_stage.lines().collect();
    let users: Vec<&str> = lines.iter().filter_map(|it| it.strip_prefix("USER ")).collect();
    let user: u32 = users.last().expect("a user").parse().expect("a number");
    assert!(user >= 1_000, "{user}");
    assert!(lines.iter().any(|it| it.starts_with("RUN useradd ") && it.contains(&format!("--uid {user}"))));
    let at = |begins: &str| lines.iter().position(|it| it.starts_with(begins)).expect(begins);
    assert!(at("USER ") < at("ENTRYPOINT "));
    assert!(!last_stage.contains("chmod") && !last_stage.contains("setcap"), "nobody is given more");
}
