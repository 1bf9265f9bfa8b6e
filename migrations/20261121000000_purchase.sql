-- Tables of the main job. Written only by the write-behind worker (and a recovery), in the one
-- transaction that moves a cell's position. Runs unchanged on MySQL 8.0 to 9.x and MariaDB 10.11.
-- Times are UTC with milliseconds. No foreign keys: one bad event must not stall the others.

-- Facts that are fixed when the database is created, and bounds that only grow.
CREATE TABLE engine (
    name  VARCHAR(32) NOT NULL PRIMARY KEY,
    value BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per cell: who may write, and the last event MySQL has. It is the watermark.
CREATE TABLE cells (
    cell             SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
    state            VARCHAR(16) NOT NULL DEFAULT 'open',
    reason           VARCHAR(255) NOT NULL DEFAULT '',
    epoch            BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- master_replid that the scripts of this epoch compare; empty where the server has no replicas
    replid           VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '',
    base             BIGINT UNSIGNED NOT NULL DEFAULT 0,
    persisted_epoch  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    persisted_seq    BIGINT UNSIGNED NOT NULL DEFAULT 0,
    lost_events      BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What each process vouches for; read by a recovery to find what was acknowledged and is gone.
CREATE TABLE nodes (
    node          CHAR(36) CHARACTER SET ascii NOT NULL,
    cell          SMALLINT UNSIGNED NOT NULL,
    epoch         BIGINT UNSIGNED NOT NULL,
    highest_seq   BIGINT UNSIGNED NOT NULL,
    noted_at      DATETIME(3) NOT NULL,
    PRIMARY KEY (cell, node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per recovery that opened a cell.
CREATE TABLE recoveries (
    cell        SMALLINT UNSIGNED NOT NULL,
    epoch       BIGINT UNSIGNED NOT NULL,
    kept_epoch  BIGINT UNSIGNED NOT NULL,
    kept_seq    BIGINT UNSIGNED NOT NULL,
    rebuilt     TINYINT NOT NULL,
    -- acknowledged numbers (kept_seq, lost_to] that are gone; 0 where nothing is
    lost_to     BIGINT UNSIGNED NOT NULL DEFAULT 0,
    at          DATETIME(3) NOT NULL,
    PRIMARY KEY (cell, epoch)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE wallets (
    user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    cell    SMALLINT UNSIGNED NOT NULL,
    balance BIGINT NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One change of a wallet. `amount` is signed: a payment is negative.
CREATE TABLE ledger (
    cell     SMALLINT UNSIGNED NOT NULL,
    seq      BIGINT UNSIGNED NOT NULL,
    user_id  BIGINT UNSIGNED NOT NULL,
    kind     VARCHAR(16) CHARACTER SET ascii NOT NULL,
    amount   BIGINT NOT NULL,
    balance  BIGINT NOT NULL,
    order_id BIGINT UNSIGNED NULL,
    at       DATETIME(3) NOT NULL,
    PRIMARY KEY (cell, seq),
    KEY by_user (user_id, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE products (
    product_id     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    cell           SMALLINT UNSIGNED NOT NULL,
    name           VARCHAR(200) NOT NULL,
    -- option ids in the order shown, "0" for none
    options        VARCHAR(1024) CHARACTER SET ascii NOT NULL,
    sale_starts_at DATETIME(3) NULL,
    sale_ends_at   DATETIME(3) NULL,
    limit_per_user INT UNSIGNED NULL,
    seq            BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The sellable unit. `remaining` = `initial_stock` + `restocked` - units of orders that hold them.
CREATE TABLE skus (
    product_id    BIGINT UNSIGNED NOT NULL,
    option_id     BIGINT UNSIGNED NOT NULL,
    cell          SMALLINT UNSIGNED NOT NULL,
    name          VARCHAR(200) NOT NULL,
    price         BIGINT NOT NULL,
    -- 0: left out of its product, no longer sold
    listed        TINYINT NOT NULL,
    initial_stock BIGINT NOT NULL,
    restocked     BIGINT NOT NULL DEFAULT 0,
    remaining     BIGINT NOT NULL,
    seq           BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (product_id, option_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE orders (
    id           BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    cell         SMALLINT UNSIGNED NOT NULL,
    seq          BIGINT UNSIGNED NOT NULL,
    user_id      BIGINT UNSIGNED NOT NULL,
    status       VARCHAR(16) CHARACTER SET ascii NOT NULL,
    total        BIGINT NOT NULL,
    discount     BIGINT NOT NULL,
    paid         BIGINT NOT NULL,
    coupon_id    BIGINT UNSIGNED NULL,
    placed_at    DATETIME(3) NOT NULL,
    expires_at   DATETIME(3) NULL,
    paid_at      DATETIME(3) NULL,
    cancelled_at DATETIME(3) NULL,
    refunded_at  DATETIME(3) NULL,
    KEY by_user (user_id, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE order_lines (
    order_id   BIGINT UNSIGNED NOT NULL,
    line_no    TINYINT UNSIGNED NOT NULL,
    product_id BIGINT UNSIGNED NOT NULL,
    option_id  BIGINT UNSIGNED NOT NULL,
    quantity   INT UNSIGNED NOT NULL,
    unit_price BIGINT NOT NULL,
    -- 1: counts against the product's limit per user
    limited    TINYINT NOT NULL,
    PRIMARY KEY (order_id, line_no)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE payments (
    order_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    cell     SMALLINT UNSIGNED NOT NULL,
    seq      BIGINT UNSIGNED NOT NULL,
    user_id  BIGINT UNSIGNED NOT NULL,
    amount   BIGINT NOT NULL,
    at       DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- `user_id` 0 is an administrator's scope; `answer` is what Redis's record holds behind the fingerprint.
CREATE TABLE idempotency (
    user_id     BIGINT UNSIGNED NOT NULL,
    idem_key    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fingerprint CHAR(32) CHARACTER SET ascii NOT NULL,
    cell        SMALLINT UNSIGNED NOT NULL,
    seq         BIGINT UNSIGNED NOT NULL,
    answer      VARCHAR(1024) CHARACTER SET ascii NOT NULL,
    at          DATETIME(3) NOT NULL,
    PRIMARY KEY (user_id, idem_key),
    KEY by_time (at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Messages for RabbitMQ; a row leaves when its message was cleanly confirmed.
CREATE TABLE outbox (
    cell    SMALLINT UNSIGNED NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL,
    kind    VARCHAR(32) CHARACTER SET ascii NOT NULL,
    payload MEDIUMTEXT NOT NULL,
    PRIMARY KEY (cell, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Messages confirmed over all time. Apart from `cells`, so that publishing never waits for persisting.
CREATE TABLE publishing (
    cell      SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
    published BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Events whose rows could not be applied.
CREATE TABLE dead_events (
    cell  SMALLINT UNSIGNED NOT NULL,
    seq   BIGINT UNSIGNED NOT NULL,
    epoch BIGINT UNSIGNED NOT NULL,
    kind  VARCHAR(64) NOT NULL,
    body  MEDIUMTEXT NOT NULL,
    error VARCHAR(1024) NOT NULL,
    at    DATETIME(3) NOT NULL,
    PRIMARY KEY (cell, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
