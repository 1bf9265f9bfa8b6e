-- Several cells. Each cell has rows of its own for what it lists and holds, written from its own events: `remaining` of a
-- SKU or campaign is what this cell can sell, and the stock is the sum over its cells. `cell` is in every primary key, so
-- that the large tables can be partitioned by it.

ALTER TABLE wallets DROP PRIMARY KEY, ADD PRIMARY KEY (user_id, cell);

ALTER TABLE products
    DROP PRIMARY KEY, ADD PRIMARY KEY (product_id, cell),
    -- 0: a copy of what the home cell says
    ADD COLUMN home TINYINT NOT NULL DEFAULT 1,
    -- of the home cell's events: the number of the one that this row is of, and of the first one of this life
    ADD COLUMN version BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN life BIGINT UNSIGNED NOT NULL DEFAULT 0;

-- `remaining` = `initial_stock` + `restocked` + `moved` - units of this cell's orders that hold them.
ALTER TABLE skus
    DROP PRIMARY KEY, ADD PRIMARY KEY (product_id, option_id, cell),
    -- units that came from other cells, less those that went there; and the number of the event that made it
    ADD COLUMN moved BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN moved_seq BIGINT UNSIGNED NOT NULL DEFAULT 0;

-- `remaining` = `quantity` (in its home cell, else 0) + `moved` - this cell's issues of this life.
ALTER TABLE coupons
    DROP PRIMARY KEY, ADD PRIMARY KEY (coupon_id, cell),
    ADD COLUMN home TINYINT NOT NULL DEFAULT 1,
    ADD COLUMN version BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN life BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN moved BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN moved_seq BIGINT UNSIGNED NOT NULL DEFAULT 0;

ALTER TABLE coupon_issues DROP PRIMARY KEY, ADD PRIMARY KEY (coupon_id, user_id, cell);
ALTER TABLE orders DROP PRIMARY KEY, ADD PRIMARY KEY (id, cell);
ALTER TABLE order_lines
    ADD COLUMN cell SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    DROP PRIMARY KEY, ADD PRIMARY KEY (order_id, line_no, cell);
ALTER TABLE payments DROP PRIMARY KEY, ADD PRIMARY KEY (order_id, cell);
ALTER TABLE idempotency DROP PRIMARY KEY, ADD PRIMARY KEY (user_id, idem_key, cell);

-- Workers that live, so that each takes its share of the cells.
CREATE TABLE workers (
    worker  CHAR(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
    seen_at DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The last transfer of a pool's units between two cells, in each direction, as `cell` has it. Units are on their way from
-- `cell` to `peer` where `given_number` is one more than the peer's row for `cell` has as `taken_number`.
CREATE TABLE transfers (
    cell         SMALLINT UNSIGNED NOT NULL,
    peer         SMALLINT UNSIGNED NOT NULL,
    -- s: a SKU (product and option); c: a campaign (its id, and 0)
    kind         CHAR(1) CHARACTER SET ascii NOT NULL,
    item_id      BIGINT UNSIGNED NOT NULL,
    option_id    BIGINT UNSIGNED NOT NULL,
    -- of the product or campaign; numbers begin anew with each
    life         BIGINT UNSIGNED NOT NULL,
    given_number BIGINT UNSIGNED NOT NULL DEFAULT 0,
    given_units  BIGINT NOT NULL DEFAULT 0,
    -- event ids, as epoch and number
    given_epoch  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    given_seq    BIGINT UNSIGNED NOT NULL DEFAULT 0,
    taken_number BIGINT UNSIGNED NOT NULL DEFAULT 0,
    taken_epoch  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    taken_seq    BIGINT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, item_id, option_id, cell, peer)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
