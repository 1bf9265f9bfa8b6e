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

/// Units that moved between cells. A row that has no product yet is made for them.
pub(super) const MOVED_SKUS: Insert = Insert {
    table: "skus",
    columns: "product_id, option_id, cell, name, price, listed, initial_stock, remaining, seq, moved, moved_seq",
    row: "(?,?,?,'',0,0,0,0,0,?,?)",
    on_duplicate: MOVED,
};

pub(super) const MOVED_COUPONS: Insert = Insert {
    table: "coupons",
    columns: "coupon_id, cell, name, kind, value, quantity, remaining, starts_at, ends_at, expires_at, set_at, \
              born_seq, seq, moved, moved_seq",
    row: "(?,?,'','fixed',0,0,0,'1970-01-01','1970-01-01','1970-01-01','1970-01-01',0,0,?,?)",
    on_duplicate: MOVED,
};

const MOVED: &str = "ON DUPLICATE KEY UPDATE moved = IF(VALUES(moved_seq) > moved_seq, VALUES(moved), moved), \
                     moved_seq = GREATEST(moved_seq, VALUES(moved_seq))";

/// The last transfer of a pool between two cells. A new life of the pool begins with numbers of its own.
pub(super) const TRANSFERS_GIVEN: Insert = Insert {
    table: "transfers",
    columns: "cell, peer, kind, item_id, option_id, life, given_number, given_units, given_epoch, given_seq",
    row: "(?,?,?,?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE \
                   taken_number = IF(VALUES(life) > life, 0, taken_number), \
                   given_number = IF(VALUES(given_seq) > given_seq, VALUES(given_number), given_number), \
                   given_units = IF(VALUES(given_seq) > given_seq, VALUES(given_units), given_units), \
                   given_epoch = IF(VALUES(given_seq) > given_seq, VALUES(given_epoch), given_epoch), \
                   given_seq = GREATEST(given_seq, VALUES(given_seq)), life = GREATEST(life, VALUES(life))",
};

/// The same for one that arrived.
pub(super) const TRANSFERS_TAKEN: Insert = Insert {
    table: TRANSFERS_GIVEN.table,
    columns: "cell, peer, kind, item_id, option_id, life, taken_number, taken_epoch, taken_seq",
    row: "(?,?,?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE \
                   given_number = IF(VALUES(life) > life, 0, given_number), \
                   taken_number = IF(VALUES(taken_seq) > taken_seq, VALUES(taken_number), taken_number), \
                   taken_epoch = IF(VALUES(taken_seq) > taken_seq, VALUES(taken_epoch), taken_epoch), \
                   taken_seq = GREATEST(taken_seq, VALUES(taken_seq)), life = GREATEST(life, VALUES(life))",
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
    columns: "order_id, line_no, cell, product_id, option_id, quantity, unit_price, limited",
    row: "(?,?,?,?,?,?,?,?)",
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
