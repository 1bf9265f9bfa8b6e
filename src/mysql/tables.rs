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

pub(super) const COUPONS: Insert = Insert {
    table: "coupons",
    columns: "coupon_id, cell, name, kind, value, quantity, remaining, starts_at, ends_at, expires_at, set_at, \
              born_seq, seq",
    row: "(?,?,'','fixed',0,0,?,'1970-01-01','1970-01-01','1970-01-01','1970-01-01',0,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE remaining = IF(VALUES(seq) > seq, VALUES(remaining), remaining), \
                   seq = GREATEST(seq, VALUES(seq))",
};

/// A coupon given to a user. It replaces what they had of an earlier life of the campaign.
pub(super) const COUPON_ISSUES: Insert = Insert {
    table: "coupon_issues",
    columns: "coupon_id, user_id, cell, state, order_id, issued_at, issued_seq, seq",
    row: "(?,?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE state = VALUES(state), order_id = VALUES(order_id), \
                   issued_at = VALUES(issued_at), issued_seq = VALUES(issued_seq), seq = VALUES(seq)",
};

/// What became of a coupon that a user has.
pub(super) const COUPON_STATES: Insert = Insert {
    table: COUPON_ISSUES.table,
    columns: COUPON_ISSUES.columns,
    row: COUPON_ISSUES.row,
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
    columns: "id, cell, seq, user_id, status, total, discount, paid, coupon_id, placed_at, paid_at",
    row: "(?,?,?,?,'paid',?,?,?,?,?,?)",
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

/// A key comes back when its time is over in Redis; the newer use replaces the older.
pub(super) const IDEMPOTENCY: Insert = Insert {
    table: "idempotency",
    columns: "user_id, idem_key, fingerprint, cell, seq, answer, at",
    row: "(?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint), cell = VALUES(cell), \
                   seq = VALUES(seq), answer = VALUES(answer), at = VALUES(at)",
};

pub(super) const OUTBOX: Insert =
    Insert { table: "outbox", columns: "cell, seq, kind, payload", row: "(?,?,?,?)", on_duplicate: "" };

pub(super) const DEAD_EVENTS: Insert = Insert {
    table: "dead_events",
    columns: "cell, seq, epoch, kind, body, error, at",
    row: "(?,?,?,?,?,?,UTC_TIMESTAMP(3))",
    on_duplicate: "",
};
