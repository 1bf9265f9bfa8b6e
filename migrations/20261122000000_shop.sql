-- Coupons, the lives of products, and what the ranking is computed from.

-- A campaign. `quantity` = `remaining` + issues of this life (those with `issued_seq` > `born_seq`).
CREATE TABLE coupons (
    coupon_id        BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    cell             SMALLINT UNSIGNED NOT NULL,
    name             VARCHAR(200) NOT NULL,
    -- fixed: `value` in minor units; percent: `value` in whole percent of the total, at most `max_amount`
    kind             VARCHAR(16) CHARACTER SET ascii NOT NULL,
    value            BIGINT NOT NULL,
    max_amount       BIGINT NULL,
    min_order_amount BIGINT NULL,
    quantity         BIGINT NOT NULL,
    remaining        BIGINT NOT NULL,
    -- bounds of issuing
    starts_at        DATETIME(3) NOT NULL,
    ends_at          DATETIME(3) NOT NULL,
    -- end of use
    expires_at       DATETIME(3) NOT NULL,
    -- when an administrator last set it
    set_at           DATETIME(3) NOT NULL,
    -- the event that began this life: an id may be used again once its campaign was forgotten
    born_seq         BIGINT UNSIGNED NOT NULL,
    -- 1: over, and no longer in Redis
    forgotten        TINYINT NOT NULL DEFAULT 0,
    seq              BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One user's unit of a campaign. `state`: issued, held (by the pending order `order_id`), used (by it).
CREATE TABLE coupon_issues (
    coupon_id  BIGINT UNSIGNED NOT NULL,
    user_id    BIGINT UNSIGNED NOT NULL,
    cell       SMALLINT UNSIGNED NOT NULL,
    state      VARCHAR(16) CHARACTER SET ascii NOT NULL,
    order_id   BIGINT UNSIGNED NULL,
    issued_at  DATETIME(3) NOT NULL,
    -- number of the event that issued it
    issued_seq BIGINT UNSIGNED NOT NULL,
    -- number of the event that made the state
    seq        BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (coupon_id, user_id),
    KEY by_user (user_id, issued_seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- A deleted product is no longer listed or sold; orders keep it. Its id may begin a new life.
ALTER TABLE products
    ADD COLUMN deleted TINYINT NOT NULL DEFAULT 0,
    -- when an administrator last set it
    ADD COLUMN set_at DATETIME(3) NOT NULL DEFAULT '1970-01-01',
    -- the event that began this life: units bought before do not count against its limit per user
    ADD COLUMN born_seq BIGINT UNSIGNED NOT NULL DEFAULT 0;

ALTER TABLE skus
    -- 1: gone with its product; what remained of it then is taken out of `restocked`
    ADD COLUMN deleted TINYINT NOT NULL DEFAULT 0;

-- Orders paid in the ranking's window.
ALTER TABLE orders ADD KEY by_paid_at (status, paid_at);
