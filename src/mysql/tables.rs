//! The multi-row statements of the write-behind, one per table.

use super::rows::Insert;

/// Absolute values are guarded by the number of the event that made them.
pub(super) const WALLETS: Insert = Insert {
    table: "wallets",
    columns: "user_id, cell, balance, seq",
    row: "(?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE balance = IF(VALUES(seq) > seq, VALUES(balance), balance), \
                   seq = GREATEST(seq, VALUES(seq))",
};

pub(super) const SKUS: Insert = Insert {
    table: "skus",
    columns: "product_id, option_id, cell, name, price, listed, initial_stock, remaining, seq",
    row: "(?,?,?,'',0,0,0,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE remaining = IF(VALUES(seq) > seq, VALUES(remaining), remaining), \
                   seq = GREATEST(seq, VALUES(seq))",
};

/// What products say of their SKUs. `restocked` is a difference.
pub(super) const LISTED_SKUS: Insert = Insert {
    table: "skus",
    columns: "product_id, option_id, cell, name, price, listed, deleted, initial_stock, restocked, remaining, seq",
    row: "(?,?,?,?,?,?,?,?,?,0,0)",
    on_duplicate: "ON DUPLICATE KEY UPDATE name = VALUES(name), price = VALUES(price), listed = VALUES(listed), \
                   deleted = VALUES(deleted), initial_stock = VALUES(initial_stock), \
                   restocked = restocked + VALUES(restocked)",
};

/// Units put in or taken away, also of a SKU whose product is not known yet.
pub(super) const RESTOCKED_SKUS: Insert = Insert {
    table: "skus",
    columns: "product_id, option_id, cell, name, price, listed, initial_stock, restocked, remaining, seq",
    row: "(?,?,?,'',0,0,0,?,0,0)",
    on_duplicate: "ON DUPLICATE KEY UPDATE restocked = restocked + VALUES(restocked)",
};

pub(super) const COUPONS: Insert = Insert {
    table: "coupons",
    columns: "coupon_id, cell, name, kind, value, quantity, remaining, starts_at, ends_at, expires_at, set_at, \
              born_seq, seq",
    row: "(?,?,'','fixed',0,0,?,'1970-01-01','1970-01-01','1970-01-01','1970-01-01',0,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE remaining = IF(VALUES(seq) > seq, VALUES(remaining), remaining), \
                   seq = GREATEST(seq, VALUES(seq))",
};

/// A coupon given to a user. It replaces what they had of an earlier life of the campaign, never of a later one.
///
/// Assignments take effect from left to right: `issued_at` looks whether `issued_seq` was taken. 1970 marks a row that
/// was made for a state alone, see [`COUPON_STATES`].
pub(super) const COUPON_ISSUES: Insert = Insert {
    table: "coupon_issues",
    columns: "coupon_id, user_id, cell, state, order_id, issued_at, issued_seq, seq",
    row: "(?,?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE state = IF(VALUES(seq) >= seq, VALUES(state), state), \
                   order_id = IF(VALUES(seq) >= seq, VALUES(order_id), order_id), \
                   issued_seq = IF(VALUES(issued_seq) >= issued_seq OR issued_at = '1970-01-01', \
                       VALUES(issued_seq), issued_seq), \
                   issued_at = IF(issued_seq = VALUES(issued_seq), VALUES(issued_at), issued_at), \
                   seq = GREATEST(seq, VALUES(seq))",
};

/// What became of a coupon that a user has. Where the row is missing, because nobody could read the event that issued
/// it, it is made with 1970 as its time.
pub(super) const COUPON_STATES: Insert = Insert {
    table: COUPON_ISSUES.table,
    columns: COUPON_ISSUES.columns,
    row: "(?,?,?,?,?,'1970-01-01',?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE state = IF(VALUES(seq) > seq, VALUES(state), state), \
                   order_id = IF(VALUES(seq) > seq, VALUES(order_id), order_id), \
                   seq = GREATEST(seq, VALUES(seq))",
};

pub(super) const LEDGER: Insert = Insert {
    table: "ledger",
    columns: "cell, seq, user_id, kind, amount, balance, order_id, at",
    row: "(?,?,?,?,?,?,?,?)",
    on_duplicate: "",
};

pub(super) const ORDERS: Insert = Insert {
    table: "orders",
    columns: "id, cell, seq, user_id, status, total, discount, paid, coupon_id, placed_at, expires_at, paid_at, \
              cancelled_at, refunded_at",
    row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    on_duplicate: "",
};

pub(super) const ORDER_LINES: Insert = Insert {
    table: "order_lines",
    columns: "order_id, line_no, product_id, option_id, quantity, unit_price, limited",
    row: "(?,?,?,?,?,?,?)",
    on_duplicate: "",
};

pub(super) const PAYMENTS: Insert = Insert {
    table: "payments",
    columns: "order_id, cell, seq, user_id, amount, at",
    row: "(?,?,?,?,?,?)",
    on_duplicate: "",
};

/// A key comes back when its time is over in Redis; the newer use replaces the older, and never the other way round.
/// `seq` comes last, since the others look at the one that was there.
pub(super) const IDEMPOTENCY: Insert = Insert {
    table: "idempotency",
    columns: "user_id, idem_key, fingerprint, cell, seq, answer, at",
    row: "(?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE fingerprint = IF(VALUES(seq) >= seq, VALUES(fingerprint), fingerprint), \
                   cell = IF(VALUES(seq) >= seq, VALUES(cell), cell), \
                   answer = IF(VALUES(seq) >= seq, VALUES(answer), answer), \
                   at = IF(VALUES(seq) >= seq, VALUES(at), at), seq = GREATEST(seq, VALUES(seq))",
};

pub(super) const OUTBOX: Insert = Insert {
    table: "outbox",
    columns: "cell, seq, kind, payload, after_seq",
    row: "(?,?,?,?,?)",
    on_duplicate: "",
};

pub(super) const DEAD_EVENTS: Insert = Insert {
    table: "dead_events",
    columns: "cell, seq, epoch, kind, body, error, at",
    row: "(?,?,?,?,?,?,UTC_TIMESTAMP(3))",
    on_duplicate: "",
};
