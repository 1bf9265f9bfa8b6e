-- What administrators changed while a cell had dead events, so that one that is retried takes its place in the order.
-- Empty otherwise. `seq` 0 is the state before the first of these changes, as JSON; the others are events as they were
-- in the log.
CREATE TABLE catalogue_replay (
    cell    SMALLINT UNSIGNED NOT NULL,
    -- product or coupon
    subject VARCHAR(16) CHARACTER SET ascii NOT NULL,
    id      BIGINT UNSIGNED NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL,
    kind    VARCHAR(64) NOT NULL,
    body    MEDIUMTEXT NOT NULL,
    PRIMARY KEY (cell, subject, id, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
