//! Promise: who may call is never a matter of luck: a setting that cannot be meant stops the start.

use std::process::{Command, Output, Stdio};

use firstcome::identity::{Identity, Tokens};
use serde_json::json;

use super::test_app::TestApp;
use super::test_servers;
use super::tokens::{self, AUDIENCE, ISSUER, SECRET, Signer};

/// What a right start has; a case replaces some, and an empty value takes one away.
const RIGHT: [(&str, &str); 4] = [
    ("FIRSTCOME_AUTH", "jwt"),
    ("FIRSTCOME_JWT_SECRET", SECRET),
    ("FIRSTCOME_JWT_AUDIENCE", AUDIENCE),
    ("FIRSTCOME_JWT_ISSUER", ISSUER),
];

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command.args(arguments).envs(RIGHT).envs(environment.iter().copied());
    command.env("RUST_LOG", "debug").stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Goal: each wrong combination is told with its key and what is allowed, by `serve` and by `dev`, before any
/// server is asked, and no secret is shown.
#[test]
fn wrong_combinations_stop_the_start() {
    let folder = test_servers::fresh_folder();
    let (public, private) = (folder.join("public.pem"), folder.join("private.pem"));
    let signer = Signer::ed();
    std::fs::write(&public, signer.public_pem()).unwrap();
    std::fs::write(&private, signer.private_pem()).unwrap();
    let (public, private) = (public.to_str().unwrap(), private.to_str().unwrap());
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case; 10] = [
        (&[("FIRSTCOME_AUTH", "basic")], &["setting `auth`", "basic", "none or jwt"]),
        (
            &[("FIRSTCOME_JWT_SECRET", "")],
            &["setting `jwt_secret`: nothing", "at least 32 bytes", "jwt_keys"],
        ),
        (
            &[("FIRSTCOME_JWT_SECRET", "canary-canary-canary-canary-123")],
            &["a text of 31 bytes", "at least 32"],
        ),
        (&[("FIRSTCOME_JWT_KEYS", public)], &["setting `jwt_keys`", public, "together with jwt_secret"]),
        (
            &[("FIRSTCOME_JWT_SECRET", ""), ("FIRSTCOME_JWT_KEYS", private)],
            &["setting `jwt_keys`", "private key"],
        ),
        (
            &[("FIRSTCOME_JWT_SECRET", ""), ("FIRSTCOME_JWT_KEYS", "/nowhere")],
            &["/nowhere (No such file", "PEM"],
        ),
        (&[("FIRSTCOME_JWT_SECRET", ""), ("FIRSTCOME_JWT_KEYS", "/")], &["setting `jwt_keys`: / (", "PEM"]),
        (&[("FIRSTCOME_JWT_AUDIENCE", "")], &["setting `jwt_audience`: nothing", "a token's aud"]),
        (&[("FIRSTCOME_JWT_ISSUER", "")], &["setting `jwt_issuer`: nothing", "a token's iss"]),
        (&[("FIRSTCOME_SELF_SERVICE", "perhaps")], &["setting `self_service`", "perhaps", "true or false"]),
    ];
    for (environment, expected) in cases {
        for arguments in [&["serve"][..], &["dev", "--data-dir", data]] {
            let output = run(arguments, environment);
            let said = text(&output);
            assert!(!output.status.success(), "{environment:?}");
            assert!(expected.iter().all(|it| said.contains(it)), "{environment:?}: {said}");
            assert!(!said.contains("canary") && !said.contains(SECRET), "{said}");
        }
    }
    assert!(!std::path::Path::new(data).exists(), "no server was started");
}

/// Goal: what everybody knows protects nothing, so `serve` refuses it.
#[test]
fn what_protects_nothing_is_for_development_only() {
    let known = ("FIRSTCOME_JWT_SECRET", "a-string-secret-at-least-256-bits-long");
    let output = run(&["serve"], &[known]);
    let said = text(&output);
    assert!(!output.status.success() && said.contains("a well-known default"), "{said}");
    assert!(!said.contains(known.1), "{said}");
    // Good enough for a token of development.
    assert!(run(&["token", "--user", "1"], &[known]).status.success());

    // A secret that nobody is asked for protects nothing either.
    let output = run(&["serve"], &[("FIRSTCOME_AUTH", "none")]);
    let said = text(&output);
    assert!(!output.status.success() && said.contains("setting `auth`: none, together with"), "{said}");

    let output = run(&["serve"], &[("FIRSTCOME_AMQP_URL", "amqp://guest:guest@mq.example:5672/%2f")]);
    let said = text(&output);
    assert!(!output.status.success() && said.contains("setting `amqp_url`: amqp://…@mq.example"), "{said}");
    assert!(said.contains("loopback only") && !said.contains("guest:guest"), "{said}");
}

/// Goal: `firstcome token` prints a token that the engine with the same settings accepts, and nothing else.
#[tokio::test]
async fn a_token_for_development_is_accepted() {
    let app = TestApp::start_with(tokens::trust_secret).await;
    let made = |arguments: &[&str]| {
        let output = run(&[&["token"], arguments].concat(), &[("RUST_LOG", "warn")]);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let with = |token: String| format!("Bearer {token}");
    for (arguments, admin) in
        [(&["--user", "7"][..], 403), (&["--user", "7", "--scope", "admin", "--expires", "60"], 201)]
    {
        let token = with(made(arguments));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let user = app.send(reqwest::Method::PUT, "/users/7", &headers, "").await;
        assert!(user.status.is_success(), "{user:?}");
        let product = json!({"name": "Mug", "price": 1}).to_string();
        let product = app.send(reqwest::Method::PUT, "/admin/products/1", &headers, product).await;
        assert_eq!(product.status.as_u16(), admin, "{product:?}");
    }
    let tokens = Tokens::load(&app.settings).unwrap().unwrap();
    assert_eq!(
        tokens.verify(&made(&["--user", "9007199254740991", "--scope", "admin"])),
        Ok(Identity::Admin(firstcome::ids::UserId::new(9_007_199_254_740_991).ok()))
    );
    app.finish().await;

    for arguments in [&["token"][..], &["token", "--user", "0"], &["token", "--user", "1", "--scope", "root"]]
    {
        assert!(!run(arguments, &[]).status.success(), "{arguments:?}");
    }
    let keys = [("FIRSTCOME_JWT_SECRET", ""), ("FIRSTCOME_JWT_KEYS", "/etc/keys.pem")];
    let refused = run(&["token", "--user", "1"], &keys);
    assert!(!refused.status.success() && text(&refused).contains("jwt_keys"), "{}", text(&refused));
}
