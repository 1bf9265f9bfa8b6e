//! The rules of products and campaigns, and of claiming a coupon.

use std::collections::BTreeSet;

use firstcome::cell::{Position, Seq};
use firstcome::coupon::{Coupon, CouponDescription, IssueId, IssueState};
use firstcome::event::{CouponIssuedEvent, Event, Left, ProductSetEvent, SkuSet};
use firstcome::idempotency::{Idempotency, Seen};
use firstcome::ids::{CouponId, OptionId, ProductId};
use firstcome::money::STOCK_MAX;
use firstcome::product::{Product, ProductOption, SkuId};
use firstcome::scripts::coupon_forget::CouponForget;
use firstcome::scripts::coupon_issue::{CouponIssue, IssuedCoupon};
use firstcome::scripts::coupon_set::CouponSet;
use firstcome::scripts::product_delete::ProductDelete;
use firstcome::scripts::product_restock::ProductRestock;
use firstcome::scripts::product_set::{Described, ProductDescription, ProductSet};
use firstcome::time::{Millis, from_millis};

use super::rules::{Campaign, EPOCH, FirstAnswer, Issue, Listed, Met, Model, Sku, Terms, Told, stored};

fn at(seq: Seq) -> Position {
    Position { epoch: EPOCH, seq }
}

impl Model {
    pub fn product_set(&mut self, set: &ProductDescription) -> Told<ProductSet> {
        let (product, at_ms) = (set.id, self.now_ms);
        let id = |option| SkuId { product, option };
        for (index, given) in set.skus.iter().enumerate() {
            let known = self.skus.get(&id(given.option));
            if known.is_some_and(|it| given.stock.is_some_and(|stock| stock != it.initial)) {
                return ("STOCK_DIFFERS", ProductSet::StockDiffers { index });
            }
        }
        let terms = Terms {
            starts_at_ms: set.starts_at_ms,
            ends_at_ms: set.ends_at_ms,
            limit: set.limit_per_user.map(i64::from),
        };
        let options: Vec<OptionId> = set.skus.iter().map(|it| it.option).collect();
        let mut described = Vec::new();
        for given in &set.skus {
            let initial = given.stock.unwrap_or(0);
            let sku = self.skus.entry(id(given.option)).or_insert_with(|| Sku {
                name: String::new(),
                price: None,
                remaining: initial,
                initial,
                terms,
            });
            (sku.name, sku.price, sku.terms) = (given.name.clone(), Some(given.price), terms);
            described.push(SkuSet {
                option: given.option,
                name: given.name.clone(),
                price: given.price,
                initial: sku.initial,
                remaining: sku.remaining,
            });
        }
        let mut unlisted = BTreeSet::new();
        for (id, sku) in self.skus.iter_mut().filter(|(id, _)| id.product == product) {
            if !options.contains(&id.option) {
                unlisted.insert(id.option);
                (sku.price, sku.terms) = (None, Terms::default());
            }
        }
        let seq = self.happened(Event::ProductSet(ProductSetEvent {
            at_ms,
            copy_of: None,
            product,
            name: set.name.clone(),
            starts_at_ms: set.starts_at_ms,
            ends_at_ms: set.ends_at_ms,
            limit_per_user: set.limit_per_user,
            skus: described,
        }));
        let born = self.products.get(&product).map(|it| it.born);
        let listed = Listed {
            name: set.name.clone(),
            options,
            unlisted,
            terms,
            set_at_ms: at_ms,
            born: born.unwrap_or(seq),
        };
        self.products.insert(product, listed);
        let described = Described { at: at(seq), life: born.unwrap_or(seq) };
        match born {
            Some(_) => ("UPDATED", ProductSet::Updated(described)),
            None => ("CREATED", ProductSet::Created(described)),
        }
    }

    /// Whether an item that names no option is one that has to.
    pub fn needs_option(&self, sku: SkuId) -> bool {
        let listed = self.products.get(&sku.product);
        sku.option == OptionId::NONE && listed.is_some_and(|it| !it.options.contains(&OptionId::NONE))
    }

    pub fn product_restock(
        &mut self,
        sku: SkuId,
        delta: i64,
        key: Option<&Idempotency>,
    ) -> Told<ProductRestock> {
        match self.met(0, key) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Restocked { seq, remaining }) => {
                return ("REPLAYED", ProductRestock::Restocked { seq, remaining, seen: Seen::Replayed });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", ProductRestock::KeyReused),
        }
        let needs_option = self.needs_option(sku);
        let Some(stock) = self.skus.get_mut(&sku).filter(|it| it.price.is_some()) else {
            return match needs_option {
                true => ("OPTION_REQUIRED", ProductRestock::OptionRequired),
                false => ("NOT_FOUND", ProductRestock::NotFound),
            };
        };
        let remaining = stock.remaining + delta;
        if !(0..=STOCK_MAX).contains(&remaining) {
            return ("OUT_OF_RANGE", ProductRestock::OutOfRange { remaining: stock.remaining });
        }
        stock.remaining = remaining;
        let at_ms = self.now_ms;
        let seq = self.happened(Event::Restocked {
            at_ms,
            sku,
            delta,
            remaining,
            total: remaining,
            caller: 0,
            key: stored(key),
        });
        let first = FirstAnswer::Restocked { seq, remaining };
        self.remember(0, key, format!("{seq} {at_ms} {remaining}"), first);
        ("RESTOCKED", ProductRestock::Restocked { seq, remaining, seen: Seen::New })
    }

    pub fn product_delete(&mut self, product: ProductId, before_ms: Option<Millis>) -> Told<ProductDelete> {
        let Some(listed) = self.products.get(&product) else { return ("NOT_FOUND", ProductDelete::NotFound) };
        let ended_ms = listed.terms.ends_at_ms.map(|it| it.max(listed.set_at_ms));
        if before_ms.is_some_and(|before| ended_ms.is_none_or(|it| it >= before)) {
            return ("NOT_ENDED", ProductDelete::NotEnded);
        }
        let options = listed.options.iter().chain(&listed.unlisted);
        let ids = options.map(|option| SkuId { product, option: *option }).collect::<Vec<_>>();
        let left =
            ids.iter().map(|it| Left { sku: *it, remaining: self.skus[it].remaining, moved: 0 }).collect();
        self.products.remove(&product);
        self.skus.retain(|it, _| it.product != product);
        self.bought.retain(|(it, _), _| *it != product);
        let seq = self.happened(Event::ProductDeleted { at_ms: self.now_ms, product, left });
        ("DELETED", ProductDelete::Deleted(at(seq)))
    }

    pub fn product_list(&self) -> Vec<Product> {
        self.products.iter().map(|(id, listed)| self.shown(*id, listed)).collect()
    }

    pub fn shown(&self, product: ProductId, listed: &Listed) -> Product {
        let option = |option: &OptionId| {
            let sku = &self.skus[&SkuId { product, option: *option }];
            let price = sku.price.expect("what is listed has a price");
            ProductOption { id: *option, name: sku.name.clone(), price, stock: sku.remaining }
        };
        let mut options: Vec<ProductOption> = listed.options.iter().map(option).collect();
        let price = options.iter().map(|it| it.price).min().expect("a product has a SKU");
        let stock = options.iter().map(|it| it.stock).sum();
        options.retain(|it| it.id != OptionId::NONE);
        Product {
            id: product,
            name: listed.name.clone(),
            price,
            stock,
            options,
            sale_starts_at: listed.terms.starts_at_ms.map(from_millis),
            sale_ends_at: listed.terms.ends_at_ms.map(from_millis),
            limit_per_user: listed.terms.limit.map(|it| it as u32),
        }
    }

    pub fn coupon_set(&mut self, set: &CouponDescription) -> Told<CouponSet> {
        let before = self.campaigns.get(&set.id);
        let issued = before.map_or(0, |it| it.quantity - it.remaining);
        let (known, remaining, set_at_ms) = (before.is_some(), set.quantity - issued, self.now_ms);
        if remaining < 0 {
            return ("BELOW_ISSUED", CouponSet::BelowIssued { issued });
        }
        let campaign = Campaign {
            name: set.name.clone(),
            discount: set.discount,
            min_order: set.min_order_amount,
            quantity: set.quantity,
            remaining,
            starts_at_ms: set.starts_at_ms,
            ends_at_ms: set.ends_at_ms,
            expires_at_ms: set.expires_at_ms,
            set_at_ms,
        };
        self.campaigns.insert(set.id, campaign);
        let coupon = set.clone();
        let event = Event::CouponSet { at_ms: set_at_ms, coupon, remaining, moved: 0, copy_of: None };
        let seq = self.happened(event);
        // With one cell there are no copies that would need a life.
        let described = Described { at: at(seq), life: seq };
        match known {
            true => ("UPDATED", CouponSet::Updated { described, issued }),
            false => ("CREATED", CouponSet::Created { described, issued }),
        }
    }

    pub fn coupon_list(&self) -> Vec<Coupon> {
        let shown = |(id, it): (&CouponId, &Campaign)| Coupon {
            coupon_id: *id,
            name: it.name.clone(),
            discount: it.discount,
            min_order_amount: it.min_order,
            quantity: it.quantity,
            remaining: it.remaining,
            starts_at: from_millis(it.starts_at_ms),
            ends_at: from_millis(it.ends_at_ms),
            expires_at: from_millis(it.expires_at_ms),
        };
        self.campaigns.iter().map(shown).collect()
    }

    pub fn coupon_forget(&mut self, coupon: CouponId, before_ms: Millis) -> Told<CouponForget> {
        let Some(campaign) = self.campaigns.get(&coupon) else {
            return ("NOT_FOUND", CouponForget::NotFound);
        };
        let Campaign { ends_at_ms, expires_at_ms, set_at_ms, .. } = *campaign;
        if [ends_at_ms, expires_at_ms, set_at_ms].iter().any(|it| *it >= before_ms) {
            return ("NOT_ENDED", CouponForget::NotEnded);
        }
        self.campaigns.remove(&coupon);
        self.issues.retain(|it, _| it.coupon != coupon);
        self.happened(Event::CouponForgotten { at_ms: self.now_ms, coupon });
        ("FORGOTTEN", CouponForget::Forgotten)
    }

    pub fn coupon_issue(
        &mut self,
        issue: IssueId,
        create: bool,
        key: Option<&Idempotency>,
    ) -> Told<CouponIssue> {
        let IssueId { coupon, user } = issue;
        match self.met(user.get(), key) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Issued(issued)) => {
                return ("REPLAYED", CouponIssue::Issued { issued, seen: Seen::Replayed, left: None });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", CouponIssue::KeyReused),
        }
        let is_new = !self.wallets.contains_key(&user);
        let Some(campaign) = self.campaigns.get_mut(&coupon) else {
            return ("NOT_FOUND", CouponIssue::NotFound);
        };
        let at_ms = self.now_ms;
        if is_new && !create {
            return ("USER_NOT_FOUND", CouponIssue::UserNotFound);
        } else if at_ms < campaign.starts_at_ms {
            return ("NOT_STARTED", CouponIssue::NotStarted { starts_at_ms: campaign.starts_at_ms });
        } else if at_ms >= campaign.ends_at_ms {
            return ("EXPIRED", CouponIssue::Expired { ended_at_ms: campaign.ends_at_ms });
        } else if self.issues.contains_key(&issue) {
            return ("ALREADY_ISSUED", CouponIssue::AlreadyIssued);
        } else if campaign.remaining == 0 {
            return ("SOLD_OUT", CouponIssue::SoldOut);
        }
        campaign.remaining -= 1;
        let Campaign { discount, remaining, expires_at_ms, .. } = *campaign;
        self.issues.insert(issue, Issue { at_ms, state: IssueState::Issued });
        self.wallets.entry(user).or_insert(0);
        let seq = self.happened(Event::CouponIssued(CouponIssuedEvent {
            at_ms,
            issue,
            remaining,
            created_user: is_new,
            discount,
            expires_at_ms,
            key: stored(key),
        }));
        let issued = IssuedCoupon { seq, issued_at_ms: at_ms, discount, expires_at_ms };
        let max_amount = discount.max_amount().map_or("-".to_owned(), |it| it.to_string());
        let text =
            format!("{seq} {at_ms} {} {} {max_amount} {expires_at_ms}", discount.kind(), discount.value());
        self.remember(user.get(), key, text, FirstAnswer::Issued(issued));
        ("ISSUED", CouponIssue::Issued { issued, seen: Seen::New, left: Some(remaining) })
    }
}
