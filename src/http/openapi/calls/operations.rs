//! What operators and probes ask, and this document.

use serde_json::json;

use crate::http::console::Ticket;
use crate::http::openapi::VERSION;
use crate::http::openapi::call::{Access, Call, Noun, Parameter};
use crate::http::operations::{Alive, Readiness};
use crate::http::overview::Overview;
use crate::http::problem::ProblemKind::{NotFound, Overloaded};

pub fn calls() -> Vec<Call> {
    let readiness = |status: &str, cell: serde_json::Value| json!({"status": status, "checks": {"cells": [cell], "mysql": {"reachable": true}}});
    let overview = || {
        json!({
            "at": "2026-11-20T11:00:12.345Z", "version": "0.1.0", "uptimeSeconds": 3_600, "mysqlReachable": true,
            "cells": [{
                "cell": 0, "sells": true, "state": "open", "epoch": 1, "lostEvents": 0, "newestSeq": 1_141_318,
                "persistedSeq": 1_141_300, "backlogEvents": 18, "lagMs": 7, "outboxMessages": 40, "publishLagMs": 9,
                "deadEvents": 0,
            }],
            "products": [
                {"id": 1, "name": "Mug", "price": 12_000, "stock": 12, "supplied": 100},
            ],
            "coupons": [{
                "couponId": 1, "name": "Opening", "discount": {"kind": "fixed", "value": 5_000}, "quantity": 1_000,
                "remaining": 640, "startsAt": "2026-11-20T11:00:00.000Z", "endsAt": "2036-11-20T12:00:00.000Z",
                "expiresAt": "2036-11-20T12:00:00.000Z",
            }],
            "ranking": [{"rank": 1, "id": 1, "name": "Mug", "price": 12_000, "stock": 12, "sold": 88}],
            "lastAudit": {
                "finishedAt": "2026-11-20T10:59:00.000Z", "tookMs": 812, "clean": true, "checkedRows": 145_332,
                "differences": 0,
            },
            "outcomes": [{"script": "order_place", "outcome": "PAID", "count": 88}],
            "problems": [{"code": "out_of_stock", "count": 1_204}],
        })
    };
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
        Call::get("/admin/overview", "get_overview", "What an operator wants to see at a glance")
            .says("What a server does not tell at the moment is left out. Counts are those of the node that answers.")
            .of(Noun::Operations, Access::Admin)
            .answers::<Overview>(200, "The state of things", overview()),
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
        Call::get("/console", "console", "The operations page, offline")
            .says("It shows what `GET /console/stream` tells, and asks for a token where one is needed.")
            .of(Noun::Operations, Access::Everybody)
            .gives(200, "The page", [("text/html", text(), json!("<!doctype html>…"))]),
        Call::get("/console/stream", "console_stream", "What operators look at, once a second until the node ends")
            .says(
                "Server-sent events named `tick`; the data of each is what `GET /admin/overview` gives, and `durations`: the \
                 buckets of answers by route, method and status since the node started.",
            )
            .of(Noun::Operations, Access::Admin)
            .asks(Parameter::new(
                "ticket",
                "Instead of `Authorization`, for who cannot send a header; of `POST /console/ticket`",
                json!({"type": "string"}),
                "5b2d8e01f4a94c7796d1a0c3e8f7b624",
            ))
            .gives(200, "Events", [("text/event-stream", text(), json!("event: tick\ndata: {\"cells\":[]}\n\n"))])
            .refuses(&[Overloaded]),
        Call::post("/console/ticket", "give_ticket", "A ticket that opens one stream")
            .says("Of the node that gave it, once, within 30 seconds.")
            .of(Noun::Operations, Access::Admin)
            .only_reads()
            .takes_nothing()
            .answers::<Ticket>(
                201,
                "The ticket",
                json!({"ticket": "5b2d8e01f4a94c7796d1a0c3e8f7b624", "expiresInSeconds": 30}),
            ),
        Call::get("/console/{file}", "console_file", "A file of that page")
            .of(Noun::Operations, Access::Everybody)
            .gives(
                200,
                "A script or a style sheet",
                ["text/javascript", "text/css"].map(|it| (it, text(), json!("…"))),
            )
            .refuses(&[NotFound]),
    ]
}
