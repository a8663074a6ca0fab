-- What the demo shows of the canonical tables after a run: a line per figure.
select 'contacts' as what, count(*) as number, null as detail from canonical.contacts
union all
select 'contacts', count(*), 'with consent' from canonical.contacts where email_consent = 'opt_in'
union all
select 'contacts', count(*), 'opted out' from canonical.contacts where email_consent = 'opt_out'
union all
select 'orders', count(*), null from canonical.orders
union all
(
    select 'orders', count(*), coalesce(status, 'held: status not mapped')
    from canonical.orders
    group by status
    order by count(*) desc
)
union all
select 'tags given', count(*), null from canonical.contact_tags
union all
select 'tags given', count(distinct tag), 'different' from canonical.contact_tags
union all
select 'RFM', count(*), null from marts.rfm
union all
(
    select 'RFM', count(*), segment
    from marts.rfm
    group by segment
    order by count(*) desc
)
