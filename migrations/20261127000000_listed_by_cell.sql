-- What a cell lists: read at its recovery, and every half minute for what its home cell no longer lists.

ALTER TABLE products ADD INDEX products_by_cell (cell, deleted);
ALTER TABLE coupons ADD INDEX coupons_by_cell (cell, forgotten);
