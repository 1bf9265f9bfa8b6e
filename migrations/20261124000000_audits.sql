-- What audits found, whoever ran them: every node shows the last one.
CREATE TABLE audits (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    finished_at  DATETIME(3) NOT NULL,
    took_ms      BIGINT UNSIGNED NOT NULL,
    checked_rows BIGINT UNSIGNED NOT NULL,
    differences  BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
