//! What the work at hand belongs to: the request whose id every log line bears, and the span under which it makes others.
//!
//! It goes along with a future. That costs an exchange of some words at each poll; it is looked at only where a line is
//! written or a script has answered.

use std::sync::Arc;

use axum::http::HeaderValue;
use tokio::task::JoinHandle;
use tokio::task::futures::TaskLocalFuture;

use super::traces::Span;

tokio::task_local! {
    static SCOPE: Scope;
}

/// What work belongs to; by default to nothing.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub request_id: Option<HeaderValue>,
    /// `None`: it is not traced.
    pub span: Option<Arc<Span>>,
}

impl Scope {
    /// Does work within this scope. What the work spawns leaves it, but by [`spawn`].
    pub fn around<Work: Future>(self, work: Work) -> TaskLocalFuture<Self, Work> {
        SCOPE.scope(self, work)
    }

    /// That of the work at hand.
    pub fn current() -> Self {
        SCOPE.try_get().unwrap_or_default()
    }

    /// The same for work that outlives its request: it makes no spans, which would follow it for ever.
    pub fn untraced(self) -> Self {
        Self { span: None, ..self }
    }
}

/// Spawns work that belongs to what the work at hand belongs to.
pub fn spawn<Work>(work: Work) -> JoinHandle<Work::Output>
where
    Work: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(Scope::current().around(work))
}

/// Looks at what the work at hand belongs to, without a copy; `None`: to nothing.
pub fn look<T>(at: impl FnOnce(&Scope) -> T) -> Option<T> {
    SCOPE.try_with(at).ok()
}

/// Does something with the span of the work at hand, where that is traced.
pub fn with_span(act: impl FnOnce(&Span)) {
    look(|it| it.span.as_deref().map(act));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_spawned_belongs_to_the_same_request() {
        let id = || look(|it| it.request_id.clone()).flatten();
        let request_id = Some(HeaderValue::from_static("order 7"));
        let scope = Scope { request_id: request_id.clone(), span: None };
        let (here, spawned, elsewhere) = scope
            .around(async move {
                let (spawned, elsewhere) = (spawn(async move { id() }), tokio::spawn(async move { id() }));
                (id(), spawned.await.unwrap(), elsewhere.await.unwrap())
            })
            .await;
        assert_eq!((here, spawned, elsewhere), (request_id.clone(), request_id, None));
        assert_eq!(id(), None);
    }
}
