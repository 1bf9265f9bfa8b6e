-- Orders that are paid later, cancelled or refunded.

-- A refund's message waits until the message of this event was confirmed: that its order was paid.
ALTER TABLE outbox ADD COLUMN after_seq BIGINT UNSIGNED NULL;

-- Orders of up to 50 lines are told again under their key.
ALTER TABLE idempotency MODIFY answer VARCHAR(4096) CHARACTER SET ascii NOT NULL;

-- Pending orders, for a rebuild.
ALTER TABLE orders ADD KEY by_status (cell, status, id);
