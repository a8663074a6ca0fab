-- IdoSell order statuses (sheet, section 7), those of version 7 and 8 included. A joined order was merged into another
-- one, which counts; an unfinished one was begun and never placed.
insert into mapped_statuses (source_status, status)
values
    ('new', 'INITIALIZED'),
    ('payment_waiting', 'INITIALIZED'),
    ('on_order', 'IN_PROGRESS'),
    ('packed', 'IN_PROGRESS'),
    ('packed_fulfillment', 'IN_PROGRESS'),
    ('packed_ready', 'IN_PROGRESS'),
    ('ready', 'IN_PROGRESS'),
    ('delivery_waiting', 'IN_PROGRESS'),
    ('wait_for_dispatch', 'IN_PROGRESS'),
    ('wait_for_packaging', 'IN_PROGRESS'),
    ('suspended', 'IN_PROGRESS'),
    ('finished', 'DELIVERED'),
    ('finished_ext', 'DELIVERED'),
    ('wait_for_receive', 'DELIVERED'),
    ('canceled', 'CANCELLED'),
    ('false', 'CANCELLED'),
    ('lost', 'CANCELLED'),
    ('missing', 'CANCELLED'),
    ('returned', 'CANCELLED'),
    ('complained', 'CANCELLED'),
    ('joined', 'CANCELLED'),
    ('unfinished', 'ABANDONED_SHOPPING_CART');
