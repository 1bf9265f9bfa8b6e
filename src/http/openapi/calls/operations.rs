//! What operators and probes ask, and this document.

use serde_json::json;

use crate::http::openapi::VERSION;
use crate::http::openapi::call::{Access, Call, Noun};
use crate::http::operations::{Alive, Readiness};
use crate::http::problem::ProblemKind::{NotFound, Overloaded};

pub fn calls() -> Vec<Call> {
    let readiness = |status: &str, cell: serde_json::Value| json!({"status": status, "checks": {"cells": [cell], "mysql": {"reachable": true}}});
    let text = || json!({"type": "string"});
    vec![
        Call::get("/healthz", "healthz", "Whether the process answers")
            .of(Noun::Operations, Access::Everybody)
            .answers::<Alive>(200, "It does", json!({"status": "alive"})),
        Call::get("/readyz", "readyz", "Whether every cell sells, and if not, why")
            .of(Noun::Operations, Access::Everybody)
            .answers::<Readiness>(
                200,
                "Every cell sells",
                readiness(
                    "ready",
                    json!({"cell": 0, "sells": true, "state": "open", "epoch": 1, "lostEvents": 0}),
                ),
            )
            .answers::<Readiness>(
                503,
                "A cell does not sell",
                readiness(
                    "not_ready",
                    json!({
                        "cell": 0, "sells": false, "state": "closed", "reason": "operator", "epoch": 1,
                        "lostEvents": 0,
                    }),
                ),
            ),
        Call::get("/metrics", "metrics", "All metrics, in Prometheus' text format")
            .of(Noun::Operations, Access::Everybody)
            .gives(200, "Samples", [("text/plain", text(), json!("firstcome_gate_open{cell=\"0\"} 1\n"))]),
        Call::get("/openapi.json", "openapi", "This document")
            .of(Noun::Operations, Access::Everybody)
            .gives(
                200,
                "OpenAPI 3.1",
                [("application/json", json!({"type": "object"}), json!({"openapi": VERSION}))],
            )
            .refuses(&[Overloaded]),
        Call::get("/docs", "docs", "A page to browse this document and try its calls, offline")
            .of(Noun::Operations, Access::Everybody)
            .gives(200, "The page", [("text/html", text(), json!("<!doctype html>…"))])
            .refuses(&[Overloaded]),
        Call::get("/docs/{file}", "docs_file", "A file of that page")
            .of(Noun::Operations, Access::Everybody)
            .gives(
                200,
                "A script or a style sheet",
                ["text/javascript", "text/css"].map(|it| (it, text(), json!("…"))),
            )
            .refuses(&[NotFound, Overloaded]),
    ]
}
