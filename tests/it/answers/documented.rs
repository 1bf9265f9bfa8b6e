//! The OpenAPI document and the tables name the same calls with the same answers.

use super::methods::all_calls;
use crate::documented::Documented;
use crate::test_app::TestApp;

/// Goal: whatever a table lists for a call, the document lists too.
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
