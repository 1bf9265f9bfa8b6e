//! The OpenAPI document and the tables name the same calls with the same answers.

use super::all_calls;
use crate::documented::Documented;
use crate::test_app::TestApp;

/// Answers that no table brings about, because they are no matter of one call: tokens, load, servers that are away,
/// the wait for MySQL. `user_not_found` also stands for another user's things, where tokens are asked for.
const OF_NO_TABLE: [&str; 11] = [
    "202",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "user_not_found",
    "overloaded",
    "cell_closed",
    "backlog_full",
    "not_yet_persisted",
    "dependency_down",
    "internal_error",
];

/// Goal: whatever a table lists for a call, the document lists too, and little else.
#[tokio::test]
async fn the_document_lists_every_answer_of_the_tables() {
    let app = TestApp::start().await;
    let documented = Documented::by(&app).await;
    for call in all_calls() {
        let listed = documented.answers(&call.method(), call.path());
        for answer in call.answers() {
            // `201 replayed` and `200 next` are statuses with a header.
            let answer = answer.split(' ').next().unwrap_or_default();
            assert!(listed.contains(answer), "{}: {answer} is not documented: {listed:?}", call.line);
        }
        for answer in &listed {
            // A product that is taken off the list between two steps of this call.
            let raced = call.line == "PUT /admin/products/{productId}" && answer == "product_not_found";
            let in_table = call.answers().contains(answer);
            let known = in_table || raced || OF_NO_TABLE.contains(&answer.as_str());
            assert!(known, "{}: {answer} is documented, and no table lists it", call.line);
        }
        // Met by any call whose cell is closed, whose node is full, or that fails.
        for answer in ["cell_closed", "dependency_down", "overloaded", "internal_error"] {
            assert!(listed.contains(answer), "{}: {answer} is not documented", call.line);
        }
        if !call.query.is_empty() {
            let parameters = &documented.document()["paths"][call.path()]["get"]["parameters"];
            let in_query = parameters.as_array().unwrap().iter().filter(|it| it["in"] == "query");
            let mut names: Vec<&str> = in_query.filter_map(|it| it["name"].as_str()).collect();
            let mut known = call.query.to_vec();
            names.sort_unstable();
            known.sort_unstable();
            assert_eq!(names, known, "{}", call.line);
        }
    }
    app.finish().await;
}
