//! What is looked at before it is bought.

use super::{Cases, HOT};
use crate::row::Row;
use crate::traffic::{Kind, List, PRODUCTS};

impl Cases<'_> {
    pub(super) async fn reads(&mut self) -> anyhow::Result<()> {
        let of_products = |products| Kind::Product { products };
        for (name, kind) in [
            ("GET one product", of_products(HOT)),
            ("GET a thousand products, each by itself", of_products(PRODUCTS)),
            ("GET the list of products, a page of 20", Kind::List(List::Products)),
            ("GET the ranking, the first 5", Kind::List(List::Ranking)),
        ] {
            eprintln!("{name}");
            let load = self.load(&self.plan(kind)).await?;
            self.rows.push(Row::of_load("reads", name, &load));
        }
        Ok(())
    }
}
