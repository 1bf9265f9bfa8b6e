//! What one request has acknowledged: the newest event that its scripts told of. The bindings all end in
//! `Scripts::acknowledge`, so it is noted there, for the task that asks.

use std::cell::Cell;

use crate::cell::{CellId, Position};

tokio::task_local! {
    static NEWEST: Cell<Option<(CellId, Position)>>;
}

/// Runs a request, and tells which event it acknowledged last, if any.
pub async fn during<T>(request: impl Future<Output = T>) -> (T, Option<(CellId, Position)>) {
    let noted = async {
        let done = request.await;
        (done, NEWEST.with(Cell::get))
    };
    NEWEST.scope(Cell::new(None), noted).await
}

/// Notes an event that the answer rests on; nobody may be asking.
pub fn note(cell: CellId, position: Position) {
    let _ = NEWEST.try_with(|it| it.set(Some((cell, position))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_hears_of_its_own_event() {
        let at = |seq| Position { epoch: 1, seq };
        let request = |seq| {
            during(async move {
                note(CellId(0), at(seq - 1));
                tokio::task::yield_now().await;
                note(CellId(0), at(seq));
                seq
            })
        };
        let (one, two) = tokio::join!(request(10), request(20));
        assert_eq!(one, (10, Some((CellId(0), at(10)))));
        assert_eq!(two, (20, Some((CellId(0), at(20)))));
        assert_eq!(during(async {}).await.1, None);
        note(CellId(0), at(1));
    }
}
