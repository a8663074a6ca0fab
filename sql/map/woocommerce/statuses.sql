-- WooCommerce order statuses (sheet, section 7). `shipped` and other plugins' statuses are unknown here on purpose:
-- what they mean is said in the pipeline file, and until then such orders are held and reported.
insert into mapped_statuses (source_status, status)
values
    ('pending', 'INITIALIZED'),
    ('on-hold', 'INITIALIZED'),
    ('processing', 'IN_PROGRESS'),
    ('completed', 'DELIVERED'),
    ('cancelled', 'CANCELLED'),
    ('failed', 'CANCELLED'),
    ('trash', 'CANCELLED'),
    ('refunded', 'CANCELLED'),
    ('checkout-draft', 'ABANDONED_SHOPPING_CART');
