//! Claims while there are coupons, and after the last one is gone.

use super::Cases;
use crate::generator::Plan;
use crate::row::Row;
use crate::traffic::Kind;

impl Cases<'_> {
    pub(super) async fn claims(&mut self) -> anyhow::Result<()> {
        let users = self.settings.users;
        for keyed in [false, true] {
            let with = if keyed { ", with keys" } else { "" };
            eprintln!("claims{with}");
            // One campaign after the other, each user once in each.
            let campaigns = 1 + 100_000 * (self.settings.seconds + 1) / users;
            let first_coupon = self.next_coupon;
            for coupon in first_coupon..first_coupon + campaigns {
                self.shop.open_campaign(coupon, users).await?;
            }
            self.shop.drain().await?;
            self.shop.rest_worker().await?;
            let before = self.shop.progress().await?;
            let load = self.load(&self.plan(Kind::Claim { first_coupon, keyed })).await?;
            let mut row = Row::of_load("coupons", format!("claims while available{with}"), &load);
            self.count(&mut row, before, &load).await?;
            self.settle(&mut row).await?;
            self.rows.push(row);
            self.next_coupon += campaigns;
        }
        let coupon = self.next_coupon;
        self.next_coupon += 1;
        self.shop.open_campaign(coupon, 1).await?;
        // An administrator may claim for anybody, and a claim that is not the generator's takes the only unit.
        let claim = serde_json::json!({ "userId": self.settings.users, "couponId": coupon });
        self.shop.call(reqwest::Method::POST, "/coupons", &claim).await?;
        for keyed in [false, true] {
            let with = if keyed { ", with keys" } else { "" };
            eprintln!("sold out{with}");
            let plan = self.plan(Kind::SoldOut { coupon, keyed });
            // Who has the unit is not told that it is sold out.
            let plan = Plan { users: self.settings.users - 1, ..plan };
            let before = self.shop.progress().await?;
            let load = self.load(&plan).await?;
            let mut row = Row::of_load("coupons", format!("claims after sold out{with}"), &load);
            if self.shop.progress().await?.appended != before.appended {
                row.refuse("a refusal appended an event");
            }
            self.settle(&mut row).await?;
            self.rows.push(row);
        }
        Ok(())
    }
}
