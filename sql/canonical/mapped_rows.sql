-- How many staging rows are to be mapped.
select
    (select count(*) from changed_customers)
    + (select count(*) from changed_subscribers)
    + (select count(*) from changed_orders)
    + (select count(*) from changed_products)
    + (select count(*) from changed_variations)
    + (select count(*) from changed_categories)
    + (select count(*) from changed_offers)
    + (select count(*) from changed_offer_prices)
    + (select count(*) from changed_offer_categories)
